"""Two statistics side by side: how far each column's distribution has moved, and columns that only changed name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.data.column_statistics import ColumnStatistics
from carrara.data.distances import jensen_shannon, kolmogorov_smirnov, l_infinity, noise, psi
from carrara.data.numbers import Numbers
from carrara.data.statistics import Statistics

Floats = npt.NDArray[np.float64]

_BINS = 20
_ROWS_A_VALUE = 5
_ENOUGH_ROWS = 100
_LEAST_RATIO = 1.5
_LIKE_NAME = 0.7
_LIKE_VALUES = 0.1
_KNOWN_FACTORS = (1_000_000, 1_000, 100, 60, 3_600, 24, 12, 10, 2.54, 1.609344, 2.20462, 3.28084)


@dataclass(frozen=True)
class Distance:
    """How far a column has moved by one measure, and what chance alone would explain."""

    measure: str
    value: float
    noise: float


def distances(expected: ColumnStatistics, actual: ColumnStatistics, measures: Mapping[str, float]) -> list[Distance]:
    """The distances of a column's present values, by each of the measures that fits its type.

    Numbers are binned by twentieths of the expected ones; texts and booleans by value, with one bin for what
    neither keeps; texts of too many values to count are compared by their lengths. A side without values gives
    no distance.
    """
    pair = _numbers(expected, actual)
    if pair is not None:
        return _number_distances(*pair, measures)
    if expected.frequent is None or actual.frequent is None:
        return []
    counts = _category_counts(expected, actual) if counted_by_value(expected) else None
    return [] if counts is None else [d for m in measures for d in _measured(m, *counts)]


def unit_factor(expected: ColumnStatistics, actual: ColumnStatistics) -> float | None:
    """By what one factor all deciles have been multiplied, as a change of unit does; None when they were not."""
    if not (expected.is_number and actual.is_number and expected.numbers and actual.numbers):
        return None
    if min(expected.numbers.sketch.total, actual.numbers.sketch.total) < _ENOUGH_ROWS:
        return None
    shares = np.arange(1, 10) / 10
    before, now = expected.numbers.sketch.quantiles(shares), actual.numbers.sketch.quantiles(shares)
    if not (np.isfinite(before).all() and np.isfinite(now).all()) or before[0] == before[-1]:
        return None
    if (np.sign(before) * np.sign(now) <= 0).any():
        return None
    ratios = np.log(now / before)
    factor = float(np.exp(np.median(ratios)))
    steady = float(np.ptp(ratios)) < 0.2
    return _nearest_factor(factor) if steady and max(factor, 1 / factor) >= _LEAST_RATIO else None


def renamed(
    absent: Mapping[str, str], unexpected: Mapping[str, ColumnStatistics], previous: Statistics | None
) -> Iterator[tuple[str, str]]:
    """Pairs of an absent column and the unexpected one that it probably became; `absent` are types by name.

    Of the same type, and alike by name, or by the distribution that the column had before.
    """
    free = dict(unexpected)
    for name, kind in absent.items():
        candidates = {other: column for other, column in free.items() if column.type == kind}
        before = previous.columns.get(name) if previous is not None else None
        scored = {other: _likeness(name, before, other, column) for other, column in candidates.items()}
        best = max(scored, key=lambda other: scored[other], default="")
        if best and scored[best] > 0:
            del free[best]
            yield name, best


def _likeness(name: str, before: ColumnStatistics | None, other: str, column: ColumnStatistics) -> float:
    by_name = difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
    if before is None or before.type != column.type:
        return by_name if by_name >= _LIKE_NAME else 0.0
    found = distances(before, column, {"kolmogorov_smirnov": 0.0} if column.numbers else {"l_infinity": 0.0})
    apart = max((d.value for d in found), default=1.0)
    if apart > _LIKE_VALUES and by_name < _LIKE_NAME:
        return 0.0
    close = abs(before.present - column.present) < _LIKE_VALUES and apart < _LIKE_VALUES
    return by_name + (1 - apart) if close else (by_name if by_name >= _LIKE_NAME else 0.0)


def counted_by_value(column: ColumnStatistics) -> bool:
    """Whether a column of texts has few enough values that their shares say something."""
    if column.frequent is None or not column.frequent.exact:
        return False
    return column.frequent.counts.height * _ROWS_A_VALUE <= max(column.rows - column.nulls, _ROWS_A_VALUE * 10)


def _numbers(expected: ColumnStatistics, actual: ColumnStatistics) -> tuple[Numbers, Numbers] | None:
    def of(column: ColumnStatistics) -> Numbers | None:
        if column.frequent is not None:
            return None if counted_by_value(column) else column.lengths
        return column.numbers if column.is_number else column.lengths

    one, other = of(expected), of(actual)
    return (one, other) if one is not None and other is not None else None


def _number_distances(expected: Numbers, actual: Numbers, measures: Mapping[str, float]) -> list[Distance]:
    if not (expected.sketch.total and actual.sketch.total):
        return []
    edges = np.unique(expected.sketch.quantiles(np.arange(1, _BINS) / _BINS))
    one, other = _binned(expected, edges), _binned(actual, edges)
    found = []
    for measure in measures:
        if measure == "kolmogorov_smirnov":
            value = kolmogorov_smirnov(expected.sketch, actual.sketch)
            found.append(Distance(measure, value, noise(measure, 1, one.sum(), other.sum())))
        else:
            found += _measured(measure, one, other)
    return found


def _binned(numbers: Numbers, edges: Floats) -> Floats:
    return np.diff(np.concatenate([[0.0], numbers.sketch.below(edges), [numbers.sketch.total]]))


def _category_counts(expected: ColumnStatistics, actual: ColumnStatistics) -> tuple[Floats, Floats] | None:
    if expected.rows == expected.nulls or actual.rows == actual.nulls:
        return None
    assert expected.frequent is not None
    assert actual.frequent is not None
    both = expected.frequent.counts.join(
        actual.frequent.counts, on="value", how="full", coalesce=True, suffix="_now"
    ).fill_null(0.0)
    one, other = both["rows"].to_numpy(), both["rows_now"].to_numpy()
    rest = [max(c.rows - c.nulls - kept.sum(), 0.0) for c, kept in ((expected, one), (actual, other))]
    return np.append(one, rest[0]), np.append(other, rest[1])


def _measured(measure: str, expected: Floats, actual: Floats) -> list[Distance]:
    functions: dict[str, Any] = {"psi": psi, "jensen_shannon": jensen_shannon, "l_infinity": l_infinity}
    if measure not in functions:
        return []
    chance = noise(measure, int(np.count_nonzero(expected + actual)), float(expected.sum()), float(actual.sum()))
    return [Distance(measure, functions[measure](expected, actual), chance)]


def _nearest_factor(factor: float) -> float:
    for known in _KNOWN_FACTORS:
        for candidate in (known, 1 / known):
            if math.isclose(factor, candidate, rel_tol=0.1):
                return candidate
    return factor
