"""The standard charts of a regression and of a classifier with several classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carrara.evaluation.charts.binary import calibration
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
from carrara.evaluation.multiclass import ClassifiedRows, accuracy, macro_pr_auc, macro_roc_auc
from carrara.evaluation.ranked import RankedRows, rank
from carrara.evaluation.regression import PredictedRows, rmse
from carrara.evaluation.weighing import Floats, Ints

_GROUPS, _BINS, _MOST_CLASSES = 20, 40, 24
_COLORS = (BLUE, ORANGE, GREEN, "#8d5fb8", "#c2483b", GREY)


def regression_charts(rows: PredictedRows) -> dict[str, Spec]:
    """Predicted against actual, the distribution of the residuals, and the residuals by prediction."""
    charts = {"predicted_actual": predicted_actual(rows), "residuals": residuals(rows)}
    return {**charts, "residuals_by_prediction": residuals_by_prediction(rows)}


def multiclass_charts(rows: ClassifiedRows, classes: Sequence[str] = ()) -> dict[str, Spec]:
    """The confusion matrix (the 24 most frequent classes are drawn), the ROC and precision curves of each of the six
    first, and the calibration of the most probable class."""
    names = list(classes) or [str(place) for place in range(rows.classes)]
    return {
        "confusion_matrix": class_confusion(rows, names),
        "roc_curves": roc_curves(rows, names),
        "pr_curves": pr_curves(rows, names),
        "calibration": top_calibration(rows),
    }


def top_calibration(rows: ClassifiedRows) -> Spec:
    """How often the most probable class is right, against its mean probability."""
    right = (rows.predicted == rows.labels).astype(np.float64)
    surest = rank(right, np.clip(rows.scores.max(axis=1), 0.0, 1.0), weights=rows.weights)
    return calibration(surest, "Mean probability of the most probable class", "Share that is right")


def roc_curves(rows: ClassifiedRows, names: Sequence[str]) -> Spec:
    """True against false positive rate of each of the most frequent classes, against the rest."""
    weights, counts = rows_weights(rows), np.bincount(rows.labels, minlength=rows.classes)
    said = f"each class against the rest; mean area {macro_roc_auc(rows, weights):.3f}"
    return curves_of(rows.ranked, counts, weights, names, said)


def pr_curves(rows: ClassifiedRows, names: Sequence[str]) -> Spec:
    """Precision against recall of each of the most frequent classes, against the rest."""
    weights, counts = rows_weights(rows), np.bincount(rows.labels, minlength=rows.classes)
    said = f"each class against the rest; mean of average precisions {macro_pr_auc(rows, weights):.3f}"
    return curves_of(rows.ranked, counts, weights, names, said, precision=True)


def curves_of(
    ranked: Sequence[tuple[Ints, RankedRows]],
    counts: Ints | Floats,
    weights: Floats,
    names: Sequence[str],
    said: str,
    *,
    precision: bool = False,
) -> Spec:
    """The ROC curves of the six outputs that most rows have, or their curves of precision and recall."""
    rows = len(weights)
    drawn = [place for place in np.argsort(-counts, kind="stable")[: len(_COLORS)] if 0 < counts[place] < rows]
    points = []
    for place in drawn:
        order, one = ranked[place]
        hits, alarms = one.curve(weights[order])
        if precision:
            x, y = hits / hits[-1], hits / (hits + alarms)
            kept = thinned(x, 100)
        else:
            x, y = np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1])
            kept = thinned(x + y, 100)
        points += columns_to_points(x=x[kept], y=y[kept], label=[names[place]] * len(kept))
    scale = {"domain": [names[place] for place in drawn], "range": list(_COLORS)}
    left_out = int((counts > 0).sum()) - len(drawn)
    curves = {
        "data": {"values": points},
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"color": {"field": "label", "type": "nominal", "scale": scale}},
    }
    said += f" · {left_out} rarer ones are not drawn" if left_out > 0 else ""
    if precision:
        axes = {"x": share_axis("x", "Recall"), "y": share_axis("y", "Precision")}
        return chart("Precision and recall", said, [curves], axes)
    axes = {"x": share_axis("x", "False positive rate"), "y": share_axis("y", "True positive rate")}
    return chart("ROC curves", said, [guide(columns_to_points(x=[0, 1], y=[0, 1])), curves], axes)


def residuals_by_prediction(rows: PredictedRows) -> Spec:
    """The residuals' middle, and their inner half and nine tenths, of rows in twenty groups of rising prediction."""
    order = np.argsort(rows.scores, kind="stable")
    groups = [part for part in np.array_split(order, _GROUPS) if len(part)]
    errors = rows.scores - rows.labels
    quantiles = np.array([np.quantile(errors[part], (0.05, 0.25, 0.5, 0.75, 0.95)) for part in groups]).T
    points = columns_to_points(
        x=[rows.scores[part].mean() for part in groups],
        **dict(zip(("p5", "p25", "y", "p75", "p95"), quantiles, strict=True)),
    )

    def band(low: str, high: str) -> Spec:
        encoding = {"y": {"field": low, "type": "quantitative"}, "y2": {"field": high}}
        return {"mark": {"type": "area", "color": BLUE, "opacity": 0.15}, "encoding": encoding}

    return chart(
        "Residuals by prediction",
        "line: median · bands: the inner half and nine tenths",
        [
            band("p5", "p95"),
            band("p25", "p75"),
            {"mark": {"type": "line", "color": BLUE, "strokeWidth": 2}},
            {"mark": {"type": "rule", "color": GREY, "strokeDash": [4, 4]}, "encoding": {"y": {"datum": 0}}},
        ],
        {
            "x": {"field": "x", "type": "quantitative", "title": "Predicted", "scale": {"zero": False}},
            "y": {"field": "y", "type": "quantitative", "title": "Predicted − actual"},
        },
        data={"values": points},
    )


def predicted_actual(rows: PredictedRows) -> Spec:
    """The mean label, and the middle half of the labels, of rows in twenty groups of rising prediction."""
    groups = [rows.labels[part] for part in np.array_split(np.argsort(rows.scores, kind="stable"), _GROUPS)]
    means = [part.mean() for part in np.array_split(np.sort(rows.scores), _GROUPS) if len(part)]
    groups = [group for group in groups if len(group)]
    points = columns_to_points(
        x=means,
        y=[group.mean() for group in groups],
        low=[np.quantile(group, 0.25) for group in groups],
        high=[np.quantile(group, 0.75) for group in groups],
    )
    ends = [float(min(means)), float(max(means))]
    band = {
        "data": {"values": points},
        "mark": {"type": "area", "color": BLUE, "opacity": 0.15},
        "encoding": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
    }
    error = rmse(rows, rows_weights(rows))
    return chart(
        "Predicted and actual",
        f"root mean squared error {error:.4g} · band: the middle half of the labels",
        [guide(columns_to_points(x=ends, y=ends)), band, line(points), dots(points, color=BLUE, size=30)],
        {
            "x": {"field": "x", "type": "quantitative", "title": "Predicted", "scale": {"zero": False}},
            "y": {"field": "y", "type": "quantitative", "title": "Actual", "scale": {"zero": False}},
        },
    )


def residuals(rows: PredictedRows) -> Spec:
    """The share of rows by prediction minus label; a hundredth on either side is left out."""
    errors = rows.scores - rows.labels
    low, high = np.quantile(errors, (0.01, 0.99))
    counts, edges = np.histogram(errors, bins=_BINS, range=(low, high) if high > low else None)
    points = columns_to_points(x=edges[:-1], end=edges[1:], share=counts / len(errors))
    bars = {
        "data": {"values": points},
        "mark": {"type": "bar", "color": BLUE, "binSpacing": 0},
        "encoding": {
            "x": {"field": "x", "bin": {"binned": True}, "type": "quantitative", "title": "Predicted − actual"},
            "x2": {"field": "end"},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "Share of rows",
                "axis": {"format": ".0%"},
            },
        },
    }
    rule = {
        "data": {"values": [{"x": 0}]},
        "mark": {"type": "rule", "color": INK, "strokeDash": [4, 4]},
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    return chart("Residuals", f"mean {errors.mean():.4g} · a hundredth on either side is not drawn", [bars, rule], {})


def class_confusion(rows: ClassifiedRows, names: Sequence[str]) -> Spec:
    """Counts of label against most probable class, shaded by share of the label's rows."""
    weights = rows_weights(rows)
    counts = rows.counts(weights)
    totals = counts.sum(axis=1)
    drawn = sorted(np.argsort(-totals, kind="stable")[:_MOST_CLASSES].tolist())
    pairs = [(label, predicted) for label in drawn for predicted in drawn]
    cells = columns_to_points(
        label=[names[label] for label, _ in pairs],
        predicted=[names[predicted] for _, predicted in pairs],
        rows=[int(counts[pair]) for pair in pairs],
        share=[float(counts[pair] / max(totals[pair[0]], 1)) for pair in pairs],
    )
    shade = {
        "field": "share",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, 1], "range": ["#eef4fa", BLUE]},
    }
    left_out = rows.classes - len(drawn)
    said = f"accuracy {accuracy(rows, weights):.3f} · shade: share of the label's rows"
    return chart(
        "Confusion matrix",
        said + (f" · {left_out} rarer classes are not drawn" if left_out else ""),
        [
            {"mark": {"type": "rect", "stroke": "#ffffff"}, "encoding": {"color": shade}},
            cell_text("rows", ",", fontSize=11),
        ],
        {
            "x": {
                "field": "predicted",
                "type": "nominal",
                "title": "Predicted",
                "sort": None,
                "axis": {"labelAngle": 0 if len(drawn) * max(len(str(names[one])) for one in drawn) < 40 else -60},
            },
            "y": {"field": "label", "type": "nominal", "title": "Label", "sort": None},
        },
        data={"values": cells},
    )
