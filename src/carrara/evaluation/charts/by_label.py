"""The standard charts of several labels: how well each is told, and the ROC curve of the most frequent ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carrara.evaluation import binary
from carrara.evaluation.charts.by_kind import curves_of
from carrara.evaluation.charts.vega import BLUE, GREEN, ORANGE, Spec, chart, columns_to_points
from carrara.evaluation.metrics import rows_weights
from carrara.evaluation.multilabel import MultilabelRows, macro_pr_auc, macro_roc_auc, micro_f1

_MOST_LABELS = 24
_DRAWN = {"precision": BLUE, "recall": ORANGE, "F1": GREEN}


def multilabel_charts(rows: MultilabelRows, classes: Sequence[str] = ()) -> dict[str, Spec]:
    """Precision, recall and F1 of each label at the threshold, and the ROC and precision curves of the six most
    frequent."""
    names = list(classes) or [str(place) for place in range(rows.labels.shape[1])]
    curves = {"roc_curves": label_curves(rows, names), "pr_curves": label_precision_curves(rows, names)}
    return {"labels": label_bars(rows, names), **curves}


def label_bars(rows: MultilabelRows, names: Sequence[str]) -> Spec:
    """Of the 24 most frequent labels."""
    weights, counts = rows_weights(rows), rows.labels.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:_MOST_LABELS].tolist()
    points = []
    for place in order:
        places, one = rows.ranked[place]
        kernels = {"precision": binary.precision, "recall": binary.recall, "F1": binary.f1}
        values = [float(kernel(one, weights[places])) for kernel in kernels.values()]
        told = f"{names[place]} ({int(counts[place]):,})"
        points += columns_to_points(label=[told] * 3, metric=list(kernels), value=np.nan_to_num(values))
    left_out = rows.labels.shape[1] - len(order)
    said = (
        f"at the threshold {rows.threshold:g}; micro F1 {float(micro_f1(rows, weights)):.3f}; in brackets: rows with it"
    )
    scale = {"domain": list(_DRAWN), "range": list(_DRAWN.values())}
    return chart(
        "Labels",
        said + (f" · {left_out} rarer ones are not drawn" if left_out else ""),
        [{"mark": {"type": "bar"}}],
        {
            "y": {"field": "label", "type": "nominal", "title": None, "sort": None},
            "yOffset": {"field": "metric", "sort": list(_DRAWN)},
            "x": {"field": "value", "type": "quantitative", "title": None, "scale": {"domain": [0, 1]}},
            "color": {"field": "metric", "type": "nominal", "scale": scale},
        },
        data={"values": points},
        height={"step": 10},
    )


def label_curves(rows: MultilabelRows, names: Sequence[str]) -> Spec:
    """True against false positive rate of each of the most frequent labels."""
    said = f"each label by itself; mean area {float(macro_roc_auc(rows, rows_weights(rows))):.3f}"
    return curves_of(rows.ranked, rows.labels.sum(axis=0), rows_weights(rows), names, said)


def label_precision_curves(rows: MultilabelRows, names: Sequence[str]) -> Spec:
    """Precision against recall of each of the most frequent labels."""
    weights = rows_weights(rows)
    said = f"each label by itself; mean of average precisions {float(macro_pr_auc(rows, weights)):.3f}"
    return curves_of(rows.ranked, rows.labels.sum(axis=0), weights, names, said, precision=True)
