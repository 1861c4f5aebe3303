"""The standard charts of a binary classifier, as Vega-Lite v6 specs with their (few) points inside.

To add a chart: write a function that returns `chart(…)`, and name it in `binary_charts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from carrara.evaluation import binary
from carrara.evaluation.ranked import CALIBRATION_BINS, RankedRows, rank
from carrara.evaluation.slices import SliceResult
from carrara.evaluation.vega import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Spec,
    chart,
    columns_to_points,
    dots,
    guide,
    line,
    share_axis,
    thinned,
)

_SCORE_BINS, _MOST_BARS = 40, 24


def binary_charts(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float = 0.5,
) -> dict[str, Spec]:
    """The charts by name; those that labels of one class leave undefined are not among them.

    `labels` (0/1) and `scores` (0..1) have shape (rows,). Raises DataError for rows that cannot be measured.
    """
    rows = rank(labels, scores, threshold=threshold)
    charts: dict[str, Spec] = {}
    if 0 < rows.labels.sum() < len(rows):
        charts["roc_curve"] = roc_curve(rows)
        charts["pr_curve"] = pr_curve(rows)
    charts["calibration"] = calibration(rows)
    charts["score_distribution"] = score_distribution(rows)
    charts["confusion_matrix"] = confusion_matrix(rows)
    return charts


def roc_curve(rows: RankedRows) -> Spec:
    """True against false positive rate at every threshold; rows must hold both classes."""
    ones = np.ones(len(rows))
    true_positives, false_positives = rows.curve(ones)
    x = np.append(0.0, false_positives / false_positives[-1])
    y = np.append(0.0, true_positives / true_positives[-1])
    kept, at = thinned(x + y), [_cut(rows)]
    return chart(
        "ROC curve",
        f"area {binary.roc_auc(rows, ones):.3f} · dot: threshold {rows.threshold:g}",
        [
            guide(columns_to_points(x=[0, 1], y=[0, 1])),
            line(columns_to_points(x=x[kept], y=y[kept])),
            dots(columns_to_points(x=x[at], y=y[at])),
        ],
        {"x": share_axis("x", "False positive rate"), "y": share_axis("y", "True positive rate")},
    )


def pr_curve(rows: RankedRows) -> Spec:
    """Precision against recall at every threshold; rows must hold a positive."""
    ones, rate = np.ones(len(rows)), float(rows.labels.mean())
    true_positives, false_positives = rows.curve(ones)
    x = true_positives / true_positives[-1]
    y = true_positives / (true_positives + false_positives)
    kept = thinned(x)
    at = [_cut(rows) - 1] if _cut(rows) else []
    return chart(
        "Precision and recall",
        f"average precision {binary.pr_auc(rows, ones):.3f} · dashed: positive rate {rate:.3f}",
        [
            guide(columns_to_points(x=[0, 1], y=[rate, rate])),
            line(columns_to_points(x=x[kept], y=y[kept])),
            dots(columns_to_points(x=x[at], y=y[at])),
        ],
        {"x": share_axis("x", "Recall"), "y": share_axis("y", "Precision")},
    )


def calibration(rows: RankedRows) -> Spec:
    """Observed rate against mean score in ten bins of equal width; the dots' areas count rows."""
    counts = np.bincount(rows.calibration_bins, minlength=CALIBRATION_BINS)
    filled = np.flatnonzero(counts)
    x = np.bincount(rows.calibration_bins, weights=rows.scores, minlength=CALIBRATION_BINS)[filled] / counts[filled]
    y = np.bincount(rows.calibration_bins, weights=rows.labels, minlength=CALIBRATION_BINS)[filled] / counts[filled]
    points = columns_to_points(x=x, y=y, rows=counts[filled])
    sized = dots(points, color=BLUE)
    sized["encoding"] = {
        "size": {"field": "rows", "type": "quantitative", "legend": None, "scale": {"range": [20, 260]}}
    }
    return chart(
        "Calibration",
        f"expected calibration error {binary.calibration_error(rows, np.ones(len(rows))):.3f} · area: rows",
        [guide(columns_to_points(x=[0, 1], y=[0, 1])), line(points), sized],
        {"x": share_axis("x", "Mean score"), "y": share_axis("y", "Observed positive rate")},
    )


def score_distribution(rows: RankedRows) -> Spec:
    """The share of each label's rows in 40 bins of the score."""
    edges = np.linspace(0, 1, _SCORE_BINS + 1)
    points = []
    for name, label in (("label 0", 0.0), ("label 1", 1.0)):
        counts, _ = np.histogram(rows.scores[rows.labels == label], bins=edges)
        share = counts / max(int(counts.sum()), 1)
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
    cut, positives = rows.predicted_positive, int(rows.labels.sum())
    hits = int(rows.labels[:cut].sum())
    counts = np.array([hits, positives - hits, cut - hits, len(rows) - cut - positives + hits])
    totals = np.array([positives, positives, len(rows) - positives, len(rows) - positives])
    cells = columns_to_points(
        label=["1", "1", "0", "0"], predicted=["1", "0", "1", "0"], rows=counts, share=counts / np.maximum(totals, 1)
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


def feature_importance(names: Sequence[str], values: Sequence[float]) -> Spec:
    """Bars of each feature's share of importance (0..1), the largest first; the 24 largest are drawn."""
    order = np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")[:_MOST_BARS]
    points = columns_to_points(feature=[names[i] for i in order], importance=[float(values[i]) for i in order])
    left_out = len(names) - len(order)
    return chart(
        "Feature importance",
        "share of the total" + (f" · {left_out} smaller ones are not drawn" if left_out else ""),
        [{"mark": {"type": "bar", "color": BLUE, "height": {"band": 0.7}}}],
        {
            "x": {"field": "importance", "type": "quantitative", "title": None, "axis": {"format": ".0%"}},
            "y": {"field": "feature", "type": "nominal", "title": None, "sort": None},
        },
        data={"values": points},
        height={"step": 20},
    )


def learning_curve(losses: Mapping[str, Sequence[float]]) -> Spec:
    """The loss of each part after each round; the dot is the lowest one of the validation part."""
    layers = []
    for part, color in (("train", GREY), ("validation", BLUE)):
        values = np.asarray(losses.get(part, ()), dtype=np.float64)
        kept = thinned(np.arange(len(values), dtype=np.float64))
        layers.append(line(columns_to_points(x=kept + 1, y=values[kept]), color=color))
    held = np.asarray(losses["validation"], dtype=np.float64)
    best = int(held.argmin())
    layers.append(dots(columns_to_points(x=[best + 1], y=[held[best]])))
    return chart(
        "Learning curve",
        f"blue: validation, lowest {held[best]:.4g} after {best + 1:,} rounds · grey: train",
        layers,
        {
            "x": {"field": "x", "type": "quantitative", "title": "Round"},
            "y": {"field": "y", "type": "quantitative", "title": "Loss", "scale": {"zero": False}},
        },
    )


def slice_bars(slices: Sequence[SliceResult], metric: str) -> Spec:
    """A metric with its interval in each slice, in the order given; the 24 largest slices are drawn."""
    measured = [one for one in slices if metric in one.metrics]
    large = sorted(measured, key=lambda one: -one.rows)[:_MOST_BARS]
    drawn = [one for one in measured if one in large]
    found = [one.metrics[metric] for one in drawn]
    points = columns_to_points(
        slice=[f"{one.column}: {one.value}" for one in drawn],
        value=[m.value for m in found],
        low=[m.low for m in found],
        high=[m.high for m in found],
    )
    left_out = len(measured) - len(drawn)
    # Dots and not bars: an axis that must start at 0 would hide differences, and one that does not would lie.
    return chart(
        f"Slices: {metric.replace('_', ' ')}",
        "line: 95 % interval" + (f" · {left_out} smaller slices are not drawn" if left_out else ""),
        [
            {
                "mark": {"type": "rule", "color": GREY, "strokeWidth": 2},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "opacity": 1, "size": 55, "color": BLUE},
                "encoding": {"x": {"field": "value", "type": "quantitative"}},
            },
        ],
        {
            "x": {"type": "quantitative", "title": metric.replace("_", " "), "scale": {"zero": False}},
            "y": {"field": "slice", "type": "nominal", "title": None, "sort": None},
        },
        data={"values": points},
        height={"step": 20},
    )


def _cut(rows: RankedRows) -> int:
    """How many groups of equal scores are predicted positive."""
    return int(np.searchsorted(rows.ends, rows.predicted_positive - 1, side="right"))


def cell_text(field: str, form: str, **mark: float) -> Spec:
    ink = {"condition": {"test": "datum.share > 0.55", "value": "#ffffff"}, "value": INK}
    text = {"field": field, "type": "quantitative", "format": form}
    return {"mark": {"type": "text", **mark}, "encoding": {"text": text, "color": ink}}
