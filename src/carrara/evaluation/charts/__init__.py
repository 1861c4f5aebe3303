"""The standard charts of each kind of model, as Vega-Lite v6 specs with their (few) points inside.

In: labelled rows, slices, and what a training has told. Out: specs by name, kept in the model record and drawn offline.
To add a chart: a function that returns `vega.chart(…)`, named in the charts of its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from carrara.evaluation.charts.binary import binary_charts
from carrara.evaluation.charts.by_kind import multiclass_charts, regression_charts
from carrara.evaluation.charts.by_label import multilabel_charts
from carrara.evaluation.charts.clusters import cluster_charts
from carrara.evaluation.charts.features import dependence, dependence_of_pair, distribution, shap_summary
from carrara.evaluation.charts.rankings import ranking_charts
from carrara.evaluation.charts.slices import slice_bars
from carrara.evaluation.charts.training import by_version, feature_importance, learning_curve
from carrara.evaluation.charts.vega import Spec, theme
from carrara.evaluation.metrics import Kind

__all__ = [
    "Spec",
    "binary_charts",
    "by_version",
    "charts_of",
    "dependence",
    "dependence_of_pair",
    "distribution",
    "cluster_charts",
    "feature_importance",
    "learning_curve",
    "multiclass_charts",
    "multilabel_charts",
    "ranking_charts",
    "regression_charts",
    "shap_summary",
    "slice_bars",
    "theme",
]


def charts_of(kind: Kind, rows: Any, classes: Sequence[str] = ()) -> dict[str, Spec]:
    """The charts of labelled rows, by name."""
    if kind == "binary":
        return binary_charts(rows)
    if kind == "regression":
        return regression_charts(rows)
    if kind == "clustering":
        return cluster_charts(rows)
    if kind == "ranking":
        return ranking_charts(rows)
    return multilabel_charts(rows, classes) if kind == "multilabel" else multiclass_charts(rows, classes)
