"""The standard charts of a regression and of a classifier with several classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from carrara.evaluation.charts import cell_text
from carrara.evaluation.multiclass import ClassifiedRows, accuracy, classified_rows
from carrara.evaluation.regression import PredictedRows, predicted_rows, rmse
from carrara.evaluation.vega import BLUE, INK, Spec, chart, columns_to_points, dots, guide, line

_GROUPS, _BINS, _MOST_CLASSES = 20, 40, 24


def regression_charts(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, Spec]:
    """Predicted against actual, and the distribution of the residuals."""
    rows = predicted_rows(labels, scores)
    return {"predicted_actual": predicted_actual(rows), "residuals": residuals(rows)}


def multiclass_charts(labels: npt.ArrayLike, scores: npt.ArrayLike, classes: Sequence[str] = ()) -> dict[str, Spec]:
    """The confusion matrix; the 24 most frequent classes are drawn."""
    rows = classified_rows(labels, scores)
    names = list(classes) or [str(place) for place in range(rows.classes)]
    return {"confusion_matrix": class_confusion(rows, names)}


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
    error = rmse(rows, np.ones(len(rows)))
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
    ones = np.ones(len(rows))
    counts = rows.counts(ones)
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
    said = f"accuracy {accuracy(rows, ones):.3f} · shade: share of the label's rows"
    return chart(
        "Confusion matrix",
        said + (f" · {left_out} rarer classes are not drawn" if left_out else ""),
        [
            {"mark": {"type": "rect", "stroke": "#ffffff"}, "encoding": {"color": shade}},
            cell_text("rows", ",", fontSize=11),
        ],
        {
            "x": {"field": "predicted", "type": "nominal", "title": "Predicted", "sort": None},
            "y": {"field": "label", "type": "nominal", "title": "Label", "sort": None},
        },
        data={"values": cells},
    )
