"""What was measured on a model's scores: overall, beside a baseline, by slice, and as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from carrara.evaluation.charts import binary_charts
from carrara.evaluation.metrics import DEFAULT_METRICS, METRICS, MetricValue, measure
from carrara.evaluation.slices import SliceResult, measure_slices


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on `rows` labelled rows; `charts` are Vega-Lite specs by name."""

    rows: int
    metrics: Mapping[str, MetricValue]
    baseline: Mapping[str, MetricValue] = field(default_factory=dict)
    slices: Sequence[SliceResult] = ()
    threshold: float = 0.5
    charts: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, without NaN; `from_dict` reads it back."""
        return {
            "rows": self.rows,
            "metrics": {name: value.as_dict() for name, value in self.metrics.items()},
            "baseline": {name: value.as_dict() for name, value in self.baseline.items()},
            "slices": [one.as_dict() for one in self.slices],
            "threshold": self.threshold,
            "charts": dict(self.charts),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        return cls(
            rows=int(data["rows"]),
            metrics={name: MetricValue.from_dict(value) for name, value in data["metrics"].items()},
            baseline={name: MetricValue.from_dict(value) for name, value in data["baseline"].items()},
            slices=tuple(SliceResult.from_dict(one) for one in data["slices"]),
            threshold=float(data["threshold"]),
            charts=dict(data["charts"]),
        )


def evaluate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    slice_columns: Mapping[str, npt.NDArray[Any]] | None = None,
    baseline_scores: npt.ArrayLike | None = None,
    threshold: float = 0.5,
    seed: int = 0,
) -> Evaluation:
    """Measure a binary classifier's scores (0..1, shape (rows,)) against labels (0/1 or bool).

    Slices, the baseline and the whole are measured with the same metrics and threshold. Raises DataError
    (with counts) for rows that cannot be measured, NotFoundError for an unknown metric.
    """
    overall = measure(labels, scores, metrics, seed=seed, threshold=threshold)
    baseline = (
        {} if baseline_scores is None else measure(labels, baseline_scores, metrics, seed=seed, threshold=threshold)
    )
    slices = measure_slices(labels, scores, slice_columns or {}, metrics, seed=seed, threshold=threshold)
    return Evaluation(
        rows=len(scores),  # type: ignore[arg-type]  # an ArrayLike that `measure` took has a length
        metrics=overall,
        baseline=baseline,
        slices=tuple(slices),
        threshold=threshold,
        charts=binary_charts(labels, scores, threshold, slices=slices, slice_metric=_main(metrics)),
    )


def _main(metrics: Sequence[str]) -> str | None:
    """The metric that the slices' chart shows: the first that has a direction."""
    return next((name for name in metrics if METRICS[name].greater_is_better is not None), None)
