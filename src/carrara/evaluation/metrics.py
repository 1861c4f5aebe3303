"""Metrics by kind of model and by name, and their measured values with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from carrara.core.errors import NotFoundError
from carrara.evaluation import binary, multiclass, regression
from carrara.evaluation.ranked import Floats, rank

Kind = Literal["binary", "multiclass", "regression"]
"""What is predicted: true or false, one of several classes, or a number."""

Kernel = Callable[[Any, Floats], float]

_ROWS: Mapping[Kind, Callable[..., Any]] = MappingProxyType(
    {"binary": rank, "multiclass": multiclass.classified_rows, "regression": regression.predicted_rows}
)


@dataclass(frozen=True)
class Metric:
    """A named figure of labels and scores; `greater_is_better` is None where it only describes."""

    name: str
    kind: Kind
    kernel: Kernel
    greater_is_better: bool | None
    description: str

    def function(self, labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5) -> float:
        """The metric's value, NaN where it is undefined; raises DataError for rows that cannot be measured.

        >>> METRICS["roc_auc"].function([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
        """
        rows = _ROWS[self.kind](labels, scores, threshold=threshold)
        return self.kernel(rows, np.ones(len(rows)))


def _metrics(kind: Kind, **kernels: tuple[Kernel, bool | None]) -> Mapping[str, Metric]:
    made = {name: Metric(name, kind, k, better, (k.__doc__ or "").strip()) for name, (k, better) in kernels.items()}
    return MappingProxyType(made)


METRICS_OF: Mapping[Kind, Mapping[str, Metric]] = MappingProxyType(
    {
        "binary": _metrics(
            "binary",
            roc_auc=(binary.roc_auc, True),
            pr_auc=(binary.pr_auc, True),
            log_loss=(binary.log_loss, False),
            brier=(binary.brier, False),
            accuracy=(binary.accuracy, True),
            precision=(binary.precision, True),
            recall=(binary.recall, True),
            f1=(binary.f1, True),
            calibration_error=(binary.calibration_error, False),
            positive_rate=(binary.positive_rate, None),
            mean_score=(binary.mean_score, None),
        ),
        "multiclass": _metrics(
            "multiclass",
            accuracy=(multiclass.accuracy, True),
            log_loss=(multiclass.log_loss, False),
            macro_f1=(multiclass.macro_f1, True),
            macro_roc_auc=(multiclass.macro_roc_auc, True),
        ),
        "regression": _metrics(
            "regression",
            mae=(regression.mae, False),
            rmse=(regression.rmse, False),
            r2=(regression.r2, True),
            mape=(regression.mape, False),
            bias=(regression.bias, None),
            mean_label=(regression.mean_label, None),
            mean_prediction=(regression.mean_prediction, None),
        ),
    }
)

METRICS: Mapping[str, Metric] = METRICS_OF["binary"]
"""The metrics of a binary label."""

DEFAULT_METRICS: tuple[str, ...] = tuple(METRICS)

MAIN_METRICS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "binary": ("roc_auc", "pr_auc", "log_loss", "brier"),
        "multiclass": ("accuracy", "log_loss", "macro_f1", "macro_roc_auc"),
        "regression": ("rmse", "mae", "r2"),
    }
)
"""What a model is measured by that names no metrics; the first is the one that it is compared by."""


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


def metric(name: str, kind: Kind | None = None) -> Metric:
    """The metric called `name`, of a kind or of any; NotFoundError names the nearest one."""
    for one in METRICS_OF if kind is None else (kind,):
        if name in METRICS_OF[one]:
            return METRICS_OF[one][name]
    known = METRICS_OF[kind] if kind else {n for metrics in METRICS_OF.values() for n in metrics}
    raise NotFoundError(f"{kind} metric" if kind else "metric", name, known)


def measure(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    names: Iterable[str] = DEFAULT_METRICS,
    *,
    kind: Kind = "binary",
    bootstrap: int = 200,
    seed: int = 0,
    threshold: float = 0.5,
) -> dict[str, MetricValue]:
    """Each named metric with its 95 % percentile-bootstrap interval.

    Of a binary label `labels` (0/1 or bool) and `scores` (0..1) have shape (rows,), of a regression numbers; of
    several classes `labels` are places and `scores` have shape (rows, classes). A metric that is undefined on these
    rows is NaN; resamples on which it is undefined are left out of its interval,
    and an interval always holds its value. `bootstrap=0` gives no interval.
    Raises DataError (with counts) for rows that cannot be measured, NotFoundError for an unknown metric.
    """
    wanted = [metric(name, kind) for name in names]
    rows = _ROWS[kind](labels, scores, threshold=threshold)
    ones = np.ones(len(rows))
    values = [m.kernel(rows, ones) for m in wanted]
    intervals = _intervals(rows, wanted, values, bootstrap, seed)
    return {
        m.name: MetricValue(value, low, high, len(rows))
        for m, value, (low, high) in zip(wanted, values, intervals, strict=True)
    }


def _intervals(
    rows: Any, wanted: list[Metric], values: list[float], bootstrap: int, seed: int
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
