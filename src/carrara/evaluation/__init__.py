"""What a model is worth: metrics with intervals, slices, a baseline, charts, and the gates they must pass.

In: labels and scores of an exported model, and columns to slice by. Out: an `Evaluation` and gate results.
"""

from carrara.evaluation.baseline import RateBaseline
from carrara.evaluation.charts import charts_of, feature_importance, learning_curve, slice_bars, theme
from carrara.evaluation.evaluate import Evaluation, evaluate
from carrara.evaluation.fairness import Difference, compare_slices, differences
from carrara.evaluation.gates import (
    Gate,
    GateResult,
    at_least,
    at_most,
    better_than_baseline,
    judge_gates,
    no_slice_below,
    not_worse_than_champion,
)
from carrara.evaluation.losses import LOSS_OF, row_losses
from carrara.evaluation.metrics import (
    DEFAULT_METRICS,
    MAIN_METRICS,
    METRICS,
    METRICS_OF,
    Kind,
    Metric,
    MetricValue,
    measure,
)
from carrara.evaluation.own import cost, metric
from carrara.evaluation.segments import Segment, segments
from carrara.evaluation.slices import SliceResult, measure_slices
from carrara.evaluation.weak_slices import WeakSlice, weakest_slices

__all__ = [
    "DEFAULT_METRICS",
    "LOSS_OF",
    "MAIN_METRICS",
    "METRICS",
    "METRICS_OF",
    "Difference",
    "Evaluation",
    "Gate",
    "GateResult",
    "Kind",
    "Metric",
    "MetricValue",
    "RateBaseline",
    "Segment",
    "SliceResult",
    "WeakSlice",
    "at_least",
    "at_most",
    "better_than_baseline",
    "charts_of",
    "compare_slices",
    "cost",
    "differences",
    "evaluate",
    "feature_importance",
    "learning_curve",
    "judge_gates",
    "measure",
    "measure_slices",
    "metric",
    "no_slice_below",
    "not_worse_than_champion",
    "row_losses",
    "segments",
    "slice_bars",
    "theme",
    "weakest_slices",
]
