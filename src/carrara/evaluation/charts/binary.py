"""The standard charts of a binary classifier, as Vega-Lite v6 specs with their (few) points inside.

To add a chart: write a function that returns `chart(…)`, and name it in `binary_charts`.
"""

from __future__ import annotations

import numpy as np

from carrara.evaluation import binary
from carrara.evaluation.charts.vega import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    Spec,
    cell_text,
    chart,
    columns_to_points,
    dots,
    guide,
    line,
    share_axis,
    thinned,
)
from carrara.evaluation.metrics import rows_weights
from carrara.evaluation.ranked import CALIBRATION_BINS, RankedRows
from carrara.evaluation.weighing import Floats, ratio

_SCORE_BINS, _THRESHOLDS = 40, 100


def binary_charts(rows: RankedRows) -> dict[str, Spec]:
    """The charts by name; those that labels of one class leave undefined are not among them."""
    charts: dict[str, Spec] = {}
    if 0 < rows.labels.sum() < len(rows):
        charts["roc_curve"] = roc_curve(rows)
        charts["pr_curve"] = pr_curve(rows)
    charts["calibration"] = calibration(rows)
    charts["score_distribution"] = score_distribution(rows)
    charts["confusion_matrix"] = confusion_matrix(rows)
    if 0 < rows.labels.sum() < len(rows):
        charts["thresholds"] = thresholds(rows)
        charts["gain"] = gain(rows)
        charts["lift"] = lift(rows)
    return charts


def roc_curve(rows: RankedRows) -> Spec:
    """True against false positive rate at every threshold; rows must hold both classes."""
    weights = rows_weights(rows)
    true_positives, false_positives = rows.curve(weights)
    x = np.append(0.0, false_positives / false_positives[-1])
    y = np.append(0.0, true_positives / true_positives[-1])
    kept, at = thinned(x + y), [_cut(rows)]
    return chart(
        "ROC curve",
        f"area {binary.roc_auc(rows, weights):.3f} · dot: threshold {rows.threshold:g}",
        [
            guide(columns_to_points(x=[0, 1], y=[0, 1])),
            line(columns_to_points(x=x[kept], y=y[kept])),
            dots(columns_to_points(x=x[at], y=y[at])),
        ],
        {"x": share_axis("x", "False positive rate"), "y": share_axis("y", "True positive rate")},
    )


def pr_curve(rows: RankedRows) -> Spec:
    """Precision against recall at every threshold; rows must hold a positive."""
    weights = rows_weights(rows)
    rate = float(binary.positive_rate(rows, weights))
    true_positives, false_positives = rows.curve(weights)
    x = true_positives / true_positives[-1]
    y = true_positives / (true_positives + false_positives)
    kept = thinned(x)
    at = [_cut(rows) - 1] if _cut(rows) else []
    return chart(
        "Precision and recall",
        f"average precision {binary.pr_auc(rows, weights):.3f} · dashed: positive rate {rate:.3f}",
        [
            guide(columns_to_points(x=[0, 1], y=[rate, rate])),
            line(columns_to_points(x=x[kept], y=y[kept])),
            dots(columns_to_points(x=x[at], y=y[at])),
        ],
        {"x": share_axis("x", "Recall"), "y": share_axis("y", "Precision")},
    )


def calibration(rows: RankedRows, x_title: str = "Mean score", y_title: str = "Observed positive rate") -> Spec:
    """Observed rate against mean score in ten bins of equal width; the dots' areas count rows."""
    weights = rows_weights(rows)
    counts = np.bincount(rows.calibration_bins, weights, CALIBRATION_BINS)
    filled = np.flatnonzero(counts)
    x = np.bincount(rows.calibration_bins, weights * rows.scores, CALIBRATION_BINS)[filled] / counts[filled]
    y = np.bincount(rows.calibration_bins, weights * rows.labels, CALIBRATION_BINS)[filled] / counts[filled]
    points = columns_to_points(x=x, y=y, rows=counts[filled])
    sized = dots(points, color=BLUE)
    sized["encoding"] = {
        "size": {"field": "rows", "type": "quantitative", "legend": None, "scale": {"range": [20, 260]}}
    }
    return chart(
        "Calibration",
        f"expected calibration error {binary.calibration_error(rows, weights):.3f} · area: rows",
        [guide(columns_to_points(x=[0, 1], y=[0, 1])), line(points), sized],
        {"x": share_axis("x", x_title), "y": share_axis("y", y_title)},
    )


def score_distribution(rows: RankedRows) -> Spec:
    """The share of each label's rows in 40 bins of the score."""
    edges = np.linspace(0, 1, _SCORE_BINS + 1)
    points = []
    for name, label in (("label 0", 0.0), ("label 1", 1.0)):
        is_label = rows.labels == label
        counts, _ = np.histogram(rows.scores[is_label], bins=edges, weights=rows_weights(rows)[is_label])
        share = counts / (float(counts.sum()) or 1.0)
        points += columns_to_points(x=edges[:-1], end=edges[1:], share=share, label=[name] * _SCORE_BINS)
    color = {"field": "label", "type": "nominal", "scale": {"domain": ["label 0", "label 1"], "range": [BLUE, ORANGE]}}
    bars = {
        "data": {"values": points},
        "mark": {"type": "bar", "opacity": 0.55, "binSpacing": 0},
        "encoding": {
            "x": {"field": "x", "bin": {"binned": True}, "type": "quantitative", "title": "Score"},
            "x2": {"field": "end"},
            "y": {
                "field": "share",
                "type": "quantitative",
                "stack": None,
                "title": "Share of rows",
                "axis": {"format": ".0%"},
            },
            "color": color,
        },
    }
    rule = {
        "data": {"values": [{"x": rows.threshold}]},
        "mark": {"type": "rule", "color": INK, "strokeDash": [4, 4]},
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    return chart("Scores by label", f"dashed: threshold {rows.threshold:g}", [bars, rule], {})


def confusion_matrix(rows: RankedRows) -> Spec:
    """Counts of label against prediction at the threshold, shaded by share of the label's rows."""
    hits, alarms, missed, rejected = binary.at_threshold(rows, rows_weights(rows))
    counts = np.array([hits, missed, alarms, rejected])
    totals = np.array([hits + missed, hits + missed, alarms + rejected, alarms + rejected])
    cells = columns_to_points(
        label=["1", "1", "0", "0"],
        predicted=["1", "0", "1", "0"],
        rows=counts,
        share=counts / np.where(totals > 0, totals, 1),
    )
    shade = {
        "field": "share",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, 1], "range": ["#eef4fa", BLUE]},
    }
    return chart(
        "Confusion matrix",
        f"at threshold {rows.threshold:g} · percentages of each label's rows",
        [
            {"mark": {"type": "rect", "stroke": "#ffffff", "strokeWidth": 3}, "encoding": {"color": shade}},
            cell_text("rows", ",", fontSize=18, fontWeight=600, dy=-9),
            cell_text("share", ".1%", fontSize=12, dy=13),
        ],
        {
            "x": {"field": "predicted", "type": "nominal", "title": "Predicted", "axis": {"labelAngle": 0}},
            "y": {"field": "label", "type": "nominal", "title": "Label"},
        },
        data={"values": cells},
    )


def thresholds(rows: RankedRows) -> Spec:
    """Precision, recall, F1 and the share of rows predicted positive, by threshold; a slider moves it.

    Each point has the counts as well: a page can show what a threshold would do to them.
    """
    weights, cuts = rows_weights(rows), np.linspace(0, 1, _THRESHOLDS + 1)
    found = [[float(part) for part in binary.at_threshold(rows, weights, cut)] for cut in cuts]
    hits, alarms, missed, rejected = np.array(found).T
    total = hits + alarms + missed + rejected
    lines = {
        "precision": ratio(hits, hits + alarms),
        "recall": ratio(hits, hits + missed),
        "F1": ratio(2 * hits, 2 * hits + alarms + missed),
        "predicted": ratio(hits + alarms, total),
    }
    table = columns_to_points(threshold=cuts, tp=hits, fp=alarms, fn=missed, tn=rejected, **lines)
    names = list(lines)
    scale = {"domain": names, "range": [BLUE, ORANGE, GREEN, GREY]}
    color = {"field": "metric", "type": "nominal", "scale": scale}
    folded = [{"fold": names, "as": ["metric", "value"]}]
    nearest = [{"filter": f"abs(datum.threshold - at) < {0.5 / _THRESHOLDS}"}]
    slider = {"input": "range", "min": 0, "max": 1, "step": 1 / _THRESHOLDS, "name": "threshold "}
    return chart(
        "Thresholds",
        "what each threshold would give · the rule stands at the chosen one",
        [
            {"transform": folded, "mark": {"type": "line", "strokeWidth": 2}, "encoding": {"color": color}},
            {
                "transform": nearest,
                "mark": {"type": "rule", "color": INK, "strokeDash": [4, 4]},
                "encoding": {"y": {"value": 0}, "y2": {"value": "height"}},
            },
            {
                "transform": [*nearest, *folded],
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
                "encoding": {"color": color},
            },
            {
                "transform": [*nearest, *folded],
                "mark": {"type": "text", "align": "left", "dx": 7, "dy": -6, "fontSize": 10.5},
                "encoding": {"text": {"field": "value", "format": ".3f"}, "color": color},
            },
        ],
        {"x": share_axis("threshold", "Threshold"), "y": share_axis("value", "Share")},
        data={"values": table},
        params=[{"name": "at", "value": round(rows.threshold, 2), "bind": slider}],
    )


def gain(rows: RankedRows) -> Spec:
    """The share of positives among the rows of highest score; rows must hold both classes."""
    x, y = _captured(rows)
    kept = thinned(x + y)
    tenth = float(np.interp(0.1, x, y))
    return chart(
        "Cumulative gain",
        f"a tenth of the rows holds {tenth:.1%} of the positives · dashed: by chance",
        [
            guide(columns_to_points(x=[0, 1], y=[0, 1])),
            line(columns_to_points(x=x[kept], y=y[kept])),
            dots(columns_to_points(x=[0.1], y=[tenth])),
        ],
        {"x": share_axis("x", "Share of rows, by falling score"), "y": share_axis("y", "Share of positives")},
    )


def lift(rows: RankedRows) -> Spec:
    """How many times more positives the rows of highest score hold than as many by chance."""
    x, y = _captured(rows)
    at = np.linspace(0.01, 1, 100)
    values = np.interp(at, x, y) / at
    return chart(
        "Lift",
        f"{values[9]:.2f} times the positives in the first tenth · dashed: by chance",
        [
            guide(columns_to_points(x=[0, 1], y=[1, 1])),
            line(columns_to_points(x=at, y=values)),
            dots(columns_to_points(x=[0.1], y=[values[9]])),
        ],
        {
            "x": share_axis("x", "Share of rows, by falling score"),
            "y": {"field": "y", "type": "quantitative", "title": "Lift"},
        },
    )


def _captured(rows: RankedRows) -> tuple[Floats, Floats]:
    """Shares of all rows and of the positives, down to each group of equal scores, from 0 to 1."""
    true_positives, false_positives = rows.curve(rows_weights(rows))
    seen = true_positives + false_positives
    return np.append(0.0, seen / seen[-1]), np.append(0.0, true_positives / true_positives[-1])


def _cut(rows: RankedRows) -> int:
    """How many groups of equal scores are predicted positive."""
    return int(np.searchsorted(rows.ends, rows.predicted_positive - 1, side="right"))
