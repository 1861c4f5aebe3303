"""How differently a model treats groups: the largest difference between the slices of a column, by metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from carrara.evaluation.intervals import deviations
from carrara.evaluation.metrics import MetricValue
from carrara.evaluation.slices import MISSING, OTHER, SliceResult

MOST_GROUPS = 20


@dataclass(frozen=True)
class Difference:
    """By how much a metric of the group `high` is above that of the group `low`, with its interval.

    The interval is as wide as all pairs of groups need together (Bonferroni), so that the widest of many differences
    is not taken for more than it is: where `low_bound` is above 0, the groups differ.
    """

    column: str
    metric: str
    high: str
    low: str
    difference: float
    low_bound: float
    high_bound: float

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Difference:
        return cls(**data)


def differences(slices: Iterable[SliceResult]) -> list[Difference]:
    """The largest difference of each metric between the groups of each column of at most MOST_GROUPS groups."""
    by_column: dict[str, list[SliceResult]] = {}
    for one in slices:
        by_column.setdefault(one.column, []).append(one)
    return [
        max(found, key=lambda one: one.difference)
        for groups in by_column.values()
        for name in groups[0].metrics
        if (found := gaps(groups, name))
    ]


def gaps(slices: Iterable[SliceResult], metric: str) -> list[Difference]:
    """The difference of a metric between every two groups of one column; none of more than MOST_GROUPS groups.

    Groups of one column share no row, so that the errors of both add up in squares.
    """
    groups = [one for one in slices if one.value not in (OTHER, MISSING) and metric in one.metrics]
    pairs = len(groups) * (len(groups) - 1) // 2
    if not 2 <= len(groups) <= MOST_GROUPS:
        return []
    found = [_between(one.column, metric, one, other, pairs) for one, other in combinations(groups, 2)]
    return [one for one in found if one is not None]


def compare_slices(one: SliceResult, other: SliceResult, metric: str) -> Difference | None:
    """The difference of a metric between two slices that share no row, None where one is undefined."""
    return _between(one.column, metric, one, other, pairs=1)


def _between(column: str, name: str, one: SliceResult, other: SliceResult, pairs: int) -> Difference | None:
    high, low = sorted((one, other), key=lambda group: -group.metrics[name].value)
    difference = high.metrics[name].value - low.metrics[name].value
    error = math.hypot(_error(high.metrics[name]), _error(low.metrics[name]))
    if math.isnan(difference) or math.isnan(error):
        return None
    wide = deviations(pairs) * error
    return Difference(column, name, high.value, low.value, difference, difference - wide, difference + wide)


def _error(value: MetricValue) -> float:
    """The standard error that a 95 % interval stands for."""
    return (value.high - value.low) / 3.92
