"""The standard charts of a binary classifier, as Vega-Lite v6 specs with their (few) points inside.

To add a chart: write a function that returns `_chart(…)`, and name it in `binary_charts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation import binary
from carrara.evaluation.ranked import CALIBRATION_BINS, Floats, Ints, RankedRows, rank
from carrara.evaluation.slices import SliceResult

Spec = dict[str, Any]

POINTS = 300
"""The most points of a curve: more cannot be seen at this size, and a record keeps every one."""

_BLUE, _ORANGE, _GREY, _INK = "#2f6fb3", "#d9730d", "#9aa3ad", "#1f2933"
_WIDTH, _HEIGHT, _SCORE_BINS, _MOST_BARS = 340, 240, 40, 24


def theme() -> Spec:
    """The quiet look of all charts, as a Vega-Lite `config`."""
    text = {"labelColor": "#52606d", "titleColor": "#323f4b", "labelFontSize": 11, "titleFontSize": 11}
    return {
        "background": "#ffffff",
        "font": "Inter, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "axis": {**text, "titleFontWeight": "normal", "gridColor": "#eceff2", "domainColor": "#cbd2d9", "ticks": False}
        | {"labelPadding": 6, "titlePadding": 8},
        "legend": {**text, "orient": "top", "title": None, "symbolType": "square", "offset": 4},
        "title": {"anchor": "start", "fontSize": 14, "fontWeight": 600, "color": _INK, "offset": 10}
        | {"subtitleColor": "#52606d", "subtitleFontSize": 11.5, "subtitlePadding": 4},
        "line": {"strokeWidth": 2},
        "range": {"category": [_BLUE, _ORANGE, "#3d8f6f", "#8a5fb0", _GREY]},
    }


def binary_charts(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float = 0.5,
    *,
    slices: Sequence[SliceResult] = (),
    slice_metric: str | None = None,
) -> dict[str, Spec]:
    """The charts by name; those that labels of one class leave undefined are not among them.

    `labels` (0/1) and `scores` (0..1) have shape (rows,). Raises DataError for rows that cannot be measured.
    """
    rows = rank(labels, scores, threshold=threshold)
    positives = float(rows.labels.sum())
    charts: dict[str, Spec] = {}
    if 0 < positives < len(rows):
        charts["roc_curve"] = roc_curve(rows)
        charts["pr_curve"] = pr_curve(rows)
    charts["calibration"] = calibration(rows)
    charts["score_distribution"] = score_distribution(rows)
    charts["confusion_matrix"] = confusion_matrix(rows)
    if slices and slice_metric is not None:
        charts["slice_bars"] = slice_bars(slices, slice_metric)
    return charts


def roc_curve(rows: RankedRows) -> Spec:
    """True against false positive rate at every threshold; rows must hold both classes."""
    ones = np.ones(len(rows))
    true_positives, false_positives = rows.curve(ones)
    recall = np.append(0.0, true_positives / true_positives[-1])
    fallout = np.append(0.0, false_positives / false_positives[-1])
    kept = _thinned(recall + fallout)
    at = _position(rows, len(recall))
    return _chart(
        "ROC curve",
        f"area {binary.roc_auc(rows, ones):.3f} · dot: threshold {rows.threshold:g}",
        [
            _layer(_points(x=[0, 1], y=[0, 1]), {"type": "line", "color": _GREY, "strokeDash": [4, 4], "strokeWidth": 1}),
            _layer(_points(x=fallout[kept], y=recall[kept]), {"type": "line", "color": _BLUE}),
            _layer(_points(x=fallout[[at]], y=recall[[at]]), {"type": "point", "filled": True, "size": 60, "color": _ORANGE}),
        ],
        {"x": _share("x", "False positive rate"), "y": _share("y", "True positive rate")},
    )


def pr_curve(rows: RankedRows) -> Spec:
    """Precision against recall at every threshold; rows must hold a positive."""
    ones = np.ones(len(rows))
    true_positives, false_positives = rows.curve(ones)
    recall = true_positives / true_positives[-1]
    precision = true_positives / (true_positives + false_positives)
    kept, rate = _thinned(recall), float(rows.labels.mean())
    at = _position(rows, len(recall) + 1) - 1
    dot = _points(x=recall[[at]], y=precision[[at]]) if at >= 0 else []
    return _chart(
        "Precision and recall",
        f"average precision {binary.pr_auc(rows, ones):.3f} · dashed: positive rate {rate:.3f}",
        [
            _layer(_points(x=[0, 1], y=[rate, rate]), {"type": "line", "color": _GREY, "strokeDash": [4, 4], "strokeWidth": 1}),
            _layer(_points(x=recall[kept], y=precision[kept]), {"type": "line", "color": _BLUE}),
            _layer(dot, {"type": "point", "filled": True, "size": 60, "color": _ORANGE}),
        ],
        {"x": _share("x", "Recall"), "y": _share("y", "Precision")},
    )


def confusion_matrix(rows: RankedRows) -> Spec:
    """Counts of label against prediction at the threshold, shaded by share of the label's rows."""
    cut = rows.predicted_positive
    hits, positives = int(rows.labels[:cut].sum()), int(rows.labels.sum())
    counts = {
        ("positive", "positive"): hits,
        ("positive", "negative"): positives - hits,
        ("negative", "positive"): cut - hits,
        ("negative", "negative"): len(rows) - cut - (positives - hits),
    }
    totals = {"positive": positives, "negative": len(rows) - positives}
    values = [_cell(label, predicted, count, totals[label]) for (label, predicted), count in counts.items()]
    axes: Spec = {
        "x": {"field": "predicted", "type": "nominal", "title": "Predicted", "axis": {"labelAngle": 0}},
        "y": {"field": "label", "type": "nominal", "title": "Label"},
    }
    shade = {"field": "share", "type": "quantitative", "legend": None, "scale": {"domain": [0, 1], "range": ["#f3f7fb", _BLUE]}}
    ink = {"condition": {"test": "datum.share > 0.55", "value": "#ffffff"}, "value": _INK}
    return _chart(
        "Confusion matrix",
        f"at threshold {rows.threshold:g} · percentages of each label",
        [
            {"mark": {"type": "rect", "stroke": "#ffffff", "strokeWidth": 3}, "encoding": {"color": shade}},
            {"mark": {"type": "text", "fontSize": 17, "fontWeight": 600, "dy": -8}, "encoding": {"text": {"field": "rows", "type": "quantitative", "format": ","}, "color": ink}},
            {"mark": {"type": "text", "fontSize": 11, "dy": 13}, "encoding": {"text": {"field": "share", "type": "quantitative", "format": ".1%"}, "color": ink}},
        ],
        axes,
        values,
    )
