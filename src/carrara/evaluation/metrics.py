"""Metrics by name, and their measured values with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import NotFoundError
from carrara.evaluation import binary
from carrara.evaluation.ranked import Floats, RankedRows, rank

Kernel = Callable[[RankedRows, Floats], float]


@dataclass(frozen=True)
class Metric:
    """A named figure of labels and scores; `greater_is_better` is None where it only describes."""

    name: str
    kernel: Kernel
    greater_is_better: bool | None
    description: str

    def function(self, labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5) -> float:
        """The metric's value, NaN where it is undefined; raises DataError for rows that cannot be measured.

        >>> METRICS["roc_auc"].function([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
        """
        rows = rank(labels, scores, threshold=threshold)
        return self.kernel(rows, np.ones(len(rows)))


def _named(kernel: Kernel, greater_is_better: bool | None) -> Metric:
    description = (kernel.__doc__ or "").strip()
    return Metric(kernel.__name__, kernel, greater_is_better, description)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _named(binary.roc_auc, True),
            _named(binary.pr_auc, True),
            _named(binary.log_loss, False),
            _named(binary.brier, False),
            _named(binary.accuracy, True),
            _named(binary.precision, True),
            _named(binary.recall, True),
            _named(binary.f1, True),
            _named(binary.calibration_error, False),
            _named(binary.positive_rate, None),
            _named(binary.mean_score, None),
        )
    }
)

DEFAULT_METRICS: tuple[str, ...] = tuple(METRICS)


@dataclass(frozen=True)
class MetricValue:
    """A measured value, its 95 % interval (NaN where undefined or not asked for) and the rows behind it."""

    value: float
    low: float
    high: float
    rows: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON: NaN becomes None."""
        return {
            "value": _or_none(self.value),
            "low": _or_none(self.low),
            "high": _or_none(self.high),
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MetricValue:
        value, low, high = (math.nan if data[key] is None else float(data[key]) for key in ("value", "low", "high"))
        return cls(value, low, high, int(data["rows"]))


def metric(name: str) -> Metric:
    """The metric called `name`; NotFoundError names the nearest one."""
    if name not in METRICS:
        raise NotFoundError("metric", name, METRICS)
    return METRICS[name]


def measure(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    names: Iterable[str] = DEFAULT_METRICS,
    *,
    bootstrap: int = 200,
    seed: int = 0,
    threshold: float = 0.5,
) -> dict[str, MetricValue]:
    """Each named metric with its 95 % percentile-bootstrap interval.

    `labels` (0/1 or bool) and `scores` (0..1) have shape (rows,). A metric that is undefined on these rows
    is NaN; resamples on which it is undefined are left out of its interval,
    and an interval always holds its value. `bootstrap=0` gives no interval.
    Raises DataError (with counts) for rows that cannot be measured, NotFoundError for an unknown metric.
    """
    wanted = [metric(name) for name in names]
    rows = rank(labels, scores, threshold=threshold)
    ones = np.ones(len(rows))
    values = [m.kernel(rows, ones) for m in wanted]
    intervals = _intervals(rows, wanted, values, bootstrap, seed)
    return {
        m.name: MetricValue(value, low, high, len(rows))
        for m, value, (low, high) in zip(wanted, values, intervals, strict=True)
    }


def _intervals(
    rows: RankedRows, wanted: list[Metric], values: list[float], bootstrap: int, seed: int
) -> list[tuple[float, float]]:
    # A resample with replacement is a count per row, so the order by score is kept and never sorted again.
    random, size = np.random.default_rng(seed), len(rows)
    found = np.empty((bootstrap, len(wanted)))
    for index in range(bootstrap):
        weights = np.bincount(random.integers(0, size, size), minlength=size).astype(np.float64)
        found[index] = [one.kernel(rows, weights) for one in wanted]
    return [_interval(value, resampled) for value, resampled in zip(values, found.T, strict=True)]


def _interval(value: float, resampled: Floats) -> tuple[float, float]:
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not defined.size:
        return math.nan, math.nan
    low, high = np.quantile(defined, (0.025, 0.975))
    # Resampling adds noise, which can only raise a calibration error: its percentiles may lie above the value.
    return min(float(low), value), max(float(high), value)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
