"""What was measured on a model's scores: overall, beside a baseline, by slice, and as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from carrara.evaluation.charts import binary_charts, slice_bars
from carrara.evaluation.charts_by_kind import multiclass_charts, regression_charts
from carrara.evaluation.metrics import METRICS_OF, Kind, MetricValue, measure
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
    kind: Kind = "binary",
    classes: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    slice_columns: Mapping[str, npt.NDArray[Any]] | None = None,
    baseline_scores: npt.ArrayLike | None = None,
    threshold: float = 0.5,
    seed: int = 0,
) -> Evaluation:
    """Measure a model's scores against labels, in the shapes that `measure` takes for its kind.

    Slices, the baseline and the whole are measured with the same metrics, by default all of the kind, and threshold;
    `classes` name the places of several classes. Raises DataError (with counts) for rows that cannot be measured,
    NotFoundError for an unknown metric.
    """
    names = tuple(METRICS_OF[kind]) if metrics is None else metrics
    overall = measure(labels, scores, names, kind=kind, seed=seed, threshold=threshold)
    baseline = {}
    if baseline_scores is not None:
        baseline = measure(labels, baseline_scores, names, kind=kind, seed=seed, threshold=threshold)
    slices = measure_slices(labels, scores, slice_columns or {}, names, kind=kind, seed=seed, threshold=threshold)
    if kind == "binary":
        charts = binary_charts(labels, scores, threshold)
    elif kind == "regression":
        charts = regression_charts(labels, scores)
    else:
        charts = multiclass_charts(labels, scores, classes)
    main = next((name for name in names if METRICS_OF[kind][name].greater_is_better is not None), None)
    if slices and main is not None:
        charts["slice_bars"] = slice_bars(slices, main)
    return Evaluation(
        rows=len(scores),  # type: ignore[arg-type]  # an ArrayLike that `measure` took has a length
        metrics=overall,
        baseline=baseline,
        slices=tuple(slices),
        threshold=threshold,
        charts=charts,
    )
