"""What a model is worth: metrics with intervals, slices, a baseline, charts, and the gates they must pass.

In: labels and scores of an exported model, and columns to slice by. Out: an `Evaluation` and gate results.
"""

from carrara.evaluation.baseline import RateBaseline
from carrara.evaluation.charts import charts_of, feature_importance, learning_curve, slice_bars, theme
from carrara.evaluation.evaluate import Evaluation, evaluate
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.fairness import Difference, compare_slices, differences
from carrara.evaluation.gates import (
    Gate,
    GateResult,
    at_least,
    at_most,
    better_than_baseline,
    judge_gates,
    no_slice_above,
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
    scaled_error,
)
from carrara.evaluation.own import cost, metric
from carrara.evaluation.paired import PairedDifference, paired_differences
from carrara.evaluation.paired_slices import no_slice_worse_than_champion
from carrara.evaluation.segments import Segment, segments
from carrara.evaluation.serving_gates import data_validated, latency_at_most, safe_to_serve, size_at_most
from carrara.evaluation.slices import SliceResult, measure_slices
from carrara.evaluation.trial import Trial
from carrara.evaluation.weak_slices import WeakSlice, weakest_slices

__all__ = [
    "DEFAULT_METRICS",
    "LOSS_OF",
    "MAIN_METRICS",
    "METRICS",
    "METRICS_OF",
    "Difference",
    "Evaluation",
    "Evidence",
    "Gate",
    "GateResult",
    "Kind",
    "Metric",
    "MetricValue",
    "PairedDifference",
    "RateBaseline",
    "Segment",
    "SliceResult",
    "Trial",
    "WeakSlice",
    "at_least",
    "at_most",
    "better_than_baseline",
    "charts_of",
    "compare_slices",
    "cost",
    "data_validated",
    "differences",
    "evaluate",
    "feature_importance",
    "learning_curve",
    "judge_gates",
    "latency_at_most",
    "measure",
    "measure_slices",
    "metric",
    "no_slice_above",
    "no_slice_below",
    "no_slice_worse_than_champion",
    "not_worse_than_champion",
    "paired_differences",
    "row_losses",
    "safe_to_serve",
    "segments",
    "scaled_error",
    "size_at_most",
    "slice_bars",
    "theme",
    "weakest_slices",
]
