"""What was measured on a model's scores: overall, beside a baseline, by slice, where it is weak, and as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.html import card, section
from carrara.evaluation.charts import charts_of, slice_bars
from carrara.evaluation.fairness import Difference, differences
from carrara.evaluation.intervals import RESAMPLES
from carrara.evaluation.jackknife import Method, intervals_by
from carrara.evaluation.losses import LOSS_OF, row_losses
from carrara.evaluation.metrics import (
    METRICS_OF,
    Kind,
    Metric,
    MetricValue,
    labelled_rows,
    measure,
    measure_rows,
    metric,
)
from carrara.evaluation.segments import segments
from carrara.evaluation.slices import SEARCHED_PARTS, Column, SliceResult, coded, measure_slices
from carrara.evaluation.weak_slices import WeakSlice, weakest_slices
from carrara.models.notebook import charts_drawn, metrics_table, slices_table

_MANY = 4_000_000
"""Of more rows than these, what their metrics were computed from is not kept for their slices."""

_TREATMENT = ("predicted_rate", "recall", "false_positive_rate", "precision")
"""By what groups are compared, beside what a binary model is judged by."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on `rows` labelled rows; `charts` are Vega-Lite specs by name.

    `weak_slices` are where the loss is highest, `fairness` the largest differences between the slices of a column, and
    `segments` rows by how well they are predicted (see `evaluation.segments`).
    """

    rows: int
    metrics: Mapping[str, MetricValue]
    baseline: Mapping[str, MetricValue] = field(default_factory=dict)
    slices: Sequence[SliceResult] = ()
    threshold: float = 0.5
    charts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    weak_slices: Sequence[WeakSlice] = ()
    fairness: Sequence[Difference] = ()
    segments: Sequence[Mapping[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, without NaN; `from_dict` reads it back."""
        return {
            "rows": self.rows,
            "metrics": {name: value.as_dict() for name, value in self.metrics.items()},
            "baseline": {name: value.as_dict() for name, value in self.baseline.items()},
            "slices": [one.as_dict() for one in self.slices],
            "threshold": self.threshold,
            "charts": dict(self.charts),
            "weak_slices": [one.as_dict() for one in self.weak_slices],
            "fairness": [one.as_dict() for one in self.fairness],
            "segments": list(self.segments),
        }

    def _repr_html_(self) -> str:
        return card(f"Evaluation on {self.rows:,} rows", *self.shown())

    def shown(self) -> list[str]:
        """The parts of a notebook's card: metrics beside the baseline, slices, charts."""
        told = self.as_dict()
        return [
            metrics_table(told["metrics"], baseline=told["baseline"]),
            section("Charts", charts_drawn(self.charts)),
            section("Slices", slices_table(told["slices"])),
        ]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        return cls(
            rows=int(data["rows"]),
            metrics={name: MetricValue.from_dict(value) for name, value in data["metrics"].items()},
            baseline={name: MetricValue.from_dict(value) for name, value in data["baseline"].items()},
            slices=tuple(SliceResult.from_dict(one) for one in data["slices"]),
            threshold=float(data["threshold"]),
            charts=dict(data["charts"]),
            weak_slices=tuple(WeakSlice.from_dict(one) for one in data.get("weak_slices", ())),
            fairness=tuple(Difference.from_dict(one) for one in data.get("fairness", ())),
            segments=tuple(data.get("segments", ())),
        )


def evaluate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    kind: Kind = "binary",
    classes: Sequence[str] = (),
    metrics: Sequence[str | Metric] | None = None,
    slice_columns: Mapping[str, Column] | None = None,
    crosses: Sequence[Sequence[str]] = (),
    searched_columns: Mapping[str, Column] | None = None,
    searched_step: int = 1,
    baseline_scores: npt.ArrayLike | None = None,
    threshold: float = 0.5,
    weights: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    intervals: Method = "bootstrap",
) -> Evaluation:
    """Measure a model's scores against labels, in the shapes that `measure` takes for its kind.

    Slices (every value of `slice_columns`, every combination of the `crosses`), the baseline and the whole are measured
    with the same metrics, by default all of the kind, and threshold; `searched_columns`, which have every
    `searched_step`-th row, are looked through for weak slices; `classes` name the places of several classes. Raises
    DataError (with counts) for rows that cannot be measured, NotFoundError for an unknown metric.
    """
    wanted = [metric(one, kind) for one in (METRICS_OF[kind] if metrics is None else metrics)]
    rows = labelled_rows(kind, labels, scores, threshold=threshold, weights=weights, groups=groups)
    overall = measure_rows(rows, wanted, intervals_by(intervals, RESAMPLES, seed))
    baseline = {}
    if baseline_scores is not None:
        options: Any = {"threshold": threshold, "weights": weights, "groups": groups, "seed": seed}
        options["intervals"] = intervals
        baseline = measure(labels, baseline_scores, wanted, kind=kind, **options)
    charts = charts_of(kind, rows, classes)
    if len(rows) > _MANY and kind == "binary":
        rows = rows.afresh()
    named = {one.name for one in wanted}
    compared = [metric(name, kind) for name in _TREATMENT if name not in named] if kind == "binary" else []
    slices = measure_slices(
        labels,
        scores,
        slice_columns or {},
        [*wanted, *compared],
        crosses=crosses,
        kind=kind,
        seed=seed,
        threshold=threshold,
        groups=groups,
        rows=rows,
        intervals=intervals,
    )
    main = next((one.name for one in wanted if one.greater_is_better is not None), None)
    if slices and main is not None:
        charts["slice_bars"] = slice_bars(slices, main)
    losses = np.empty(0)
    if searched_columns and kind in LOSS_OF:
        losses = row_losses(np.asarray(labels)[::searched_step], np.asarray(scores)[::searched_step], kind)
    searched = {name: coded(cells, SEARCHED_PARTS) for name, cells in (searched_columns or {}).items()}
    return Evaluation(
        rows=len(rows),
        metrics=overall,
        baseline=baseline,
        slices=tuple(slices),
        threshold=threshold,
        charts=charts,
        weak_slices=tuple(weakest_slices(losses, searched, seed=seed)) if losses.size else (),
        fairness=tuple(differences(slices)),
        segments=tuple(one.as_dict() for one in segments(losses, searched, seed=seed)) if losses.size else (),
    )
