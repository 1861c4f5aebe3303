"""Paired differences: by how much models differ on the same rows, which is told more exactly than by two intervals.

Rows that are hard are hard for both: a resample takes the same rows for both, and what they share cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.jackknife import Method, student_quantile
from carrara.evaluation.metrics import Kind, Metric, labelled_rows, metric, rows_weights

RESAMPLES = 100
MOST_ROWS = 10_000


@dataclass(frozen=True)
class PairedDifference:
    """How far a metric of `other` is above that of `one` on the same rows, with its 95 % interval (NaN: undefined)."""

    metric: str
    one: float
    other: float
    difference: float
    low: float
    high: float
    rows: int

    @property
    def differs(self) -> bool:
        """Whether chance alone would hardly make such a difference."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, Any]:
        plain = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in vars(self).items()}
        return {**plain, "differs": self.differs}


def paired_differences(
    labels: npt.NDArray[Any],
    one: npt.NDArray[Any],
    other: npt.NDArray[Any],
    metrics: Sequence[str | Metric],
    *,
    kind: Kind = "binary",
    threshold: float = 0.5,
    weights: npt.NDArray[Any] | None = None,
    groups: npt.NDArray[Any] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    intervals: Method = "bootstrap",
) -> dict[str, PairedDifference]:
    """The differences of two models' scores against the same labels, in the shapes that `measure` takes.

    With `intervals` by jackknife `resamples` is how many groups of rows are left out, one after the other. Of more rows
    than MOST_ROWS the interval comes from a sample, scaled to all (see `evaluation.intervals`). A ranking
    is resampled by whole queries. Raises DataError for rows that cannot be measured.

    >>> labels = np.array([0, 0, 1, 1] * 50)
    >>> weak, strong = np.tile([0.1, 0.6, 0.4, 0.9], 50), np.tile([0.1, 0.3, 0.7, 0.9], 50)
    >>> paired_differences(labels, weak, strong, ["roc_auc"])["roc_auc"].difference
    0.25
    """
    if len(one) != len(labels) or len(other) != len(labels):
        raise DataError(f"there are {len(labels):,} labels, and {len(one):,} and {len(other):,} scores")
    wanted = [metric(name, kind) for name in metrics]
    kept = {"threshold": threshold, "groups": groups}
    found = [_values(kind, labels, scores, wanted, {**kept, "weights": weights}) for scores in (one, other)]
    places = _sample(len(labels), seed) if groups is None else np.arange(len(labels))
    queries = np.unique(groups[places], return_inverse=True)[1] if groups is not None else np.arange(len(places))
    counts = _counts(intervals, resamples, int(queries.max(initial=-1)) + 1, seed)
    drawn = _resampled(kind, labels, (one, other), wanted, weights, groups, threshold, places, queries, counts)
    scale, reach = math.sqrt(len(places) / max(len(labels), 1)), _REACH[intervals]
    found_by = {name: (found[0][k], found[1][k], drawn[:, k]) for k, name in enumerate(one.name for one in wanted)}
    return {name: _difference(name, *values, scale, len(labels), reach) for name, values in found_by.items()}


def _difference(
    name: str, one: float, other: float, drawn: npt.NDArray[Any], scale: float, rows: int, reach: _Reach
) -> PairedDifference:
    difference, defined = other - one, drawn[~np.isnan(drawn)]
    if math.isnan(difference) or defined.size < 2:
        return PairedDifference(name, one, other, difference, math.nan, math.nan, rows)
    low, high = reach(defined)
    return PairedDifference(name, one, other, difference, difference + low * scale, difference + high * scale, rows)


def _by_quantiles(resampled: npt.NDArray[Any]) -> tuple[float, float]:
    low, high = np.quantile(resampled, (0.025, 0.975)) - np.median(resampled)
    return float(low), float(high)


def _by_deviations(left_out: npt.NDArray[Any]) -> tuple[float, float]:
    """As `evaluation.jackknife`: (groups - 1) / groups times the sum of the squared deviations, by Student's t."""
    far = student_quantile(left_out.size - 1) * math.sqrt((left_out.size - 1) * left_out.var())
    return -far, far


_Reach = Callable[[npt.NDArray[Any]], tuple[float, float]]

_REACH: Mapping[Method, _Reach] = {"bootstrap": _by_quantiles, "jackknife": _by_deviations}
"""From a difference to the ends of its interval, by the differences of the resamples."""


def _counts(method: Method, resamples: int, size: int, seed: int) -> Iterator[npt.NDArray[Any]]:
    """How often each of `size` rows, or queries, counts: Poisson(1) times, or always but when its group is left out."""
    random = np.random.default_rng(seed)
    if method == "bootstrap":
        yield from (random.poisson(1.0, size) for _ in range(resamples))
        return
    count = min(resamples, size)
    of_row = random.permutation(size) % max(count, 1)
    yield from (of_row != group for group in range(count))


def _resampled(
    kind: Kind,
    labels: npt.NDArray[Any],
    scores: Sequence[npt.NDArray[Any]],
    wanted: Sequence[Metric],
    weights: npt.NDArray[Any] | None,
    groups: npt.NDArray[Any] | None,
    threshold: float,
    places: npt.NDArray[np.int64],
    queries: npt.NDArray[np.int64],
    counts: Iterator[npt.NDArray[Any]],
) -> npt.NDArray[np.float64]:
    """The difference of each metric in each resample, float64 of shape (resamples, metrics)."""
    base = np.ones(len(places)) if weights is None else np.asarray(weights, np.float64)[places]
    found = []
    for count in counts:
        drawn = count[queries] * base
        there = places[drawn > 0]
        if not there.size:
            continue
        options: dict[str, Any] = {"threshold": threshold, "weights": drawn[drawn > 0]}
        options["groups"] = groups[there] if groups is not None else None
        pair = [_values(kind, labels[there], one[there], wanted, options) for one in scores]
        found.append(np.subtract(pair[1], pair[0]))
    return np.array(found, np.float64).reshape(-1, len(wanted))


def _values(
    kind: Kind, labels: npt.NDArray[Any], scores: npt.NDArray[Any], wanted: Sequence[Metric], options: Mapping[str, Any]
) -> list[float]:
    rows = labelled_rows(kind, labels, scores, **options)
    return [float(one.kernel(rows, rows_weights(rows))) for one in wanted]


def _sample(rows: int, seed: int) -> npt.NDArray[np.int64]:
    if rows <= MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
