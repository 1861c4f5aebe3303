"""What a model is worth: metrics with intervals, slices, a baseline, charts, and the gates they must pass.

In: labels and scores of an exported model, and columns to slice by. Out: an `Evaluation` and gate results.
"""

from carrara.evaluation.baseline import RateBaseline
from carrara.evaluation.charts import (
    binary_charts,
    calibration,
    confusion_matrix,
    feature_importance,
    learning_curve,
    pr_curve,
    roc_curve,
    score_distribution,
    slice_bars,
)
from carrara.evaluation.evaluate import Evaluation, evaluate
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
from carrara.evaluation.slices import SliceResult, measure_slices
from carrara.evaluation.vega import theme

__all__ = [
    "DEFAULT_METRICS",
    "MAIN_METRICS",
    "METRICS",
    "METRICS_OF",
    "Evaluation",
    "Gate",
    "GateResult",
    "Kind",
    "Metric",
    "MetricValue",
    "RateBaseline",
    "SliceResult",
    "at_least",
    "at_most",
    "better_than_baseline",
    "binary_charts",
    "calibration",
    "confusion_matrix",
    "evaluate",
    "feature_importance",
    "learning_curve",
    "judge_gates",
    "measure",
    "measure_slices",
    "no_slice_below",
    "not_worse_than_champion",
    "pr_curve",
    "roc_curve",
    "score_distribution",
    "slice_bars",
    "theme",
]
