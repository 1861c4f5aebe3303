"""Jackknife intervals: how a value varies as one group of rows after the other is left out.

Of few rows a group is one row; the standard error of a mean is then exactly that of the textbook, s / sqrt(rows). Of
more it is one of `count` groups of random rows (the delete-a-group jackknife: Kott, 2001). Its intervals are symmetric:
right for means and smooth figures, while rough ones, such as quantiles, are the bootstrap's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from carrara.core.errors import NotFoundError
from carrara.evaluation.intervals import MOST_ROWS, RESAMPLES, Kernel, Resamples, deviations, sampled
from carrara.evaluation.weighing import Floats

_AT_ONCE = 500_000

Method = Literal["bootstrap", "jackknife"]
METHODS: tuple[Method, ...] = ("bootstrap", "jackknife")


def intervals_by(method: str, count: int, seed: int, most: int = MOST_ROWS) -> Resamples | Jackknife:
    """What gives intervals by a method, of so many resamples or groups; NotFoundError names the nearest method."""
    if method not in METHODS:
        raise NotFoundError("method of intervals", method, METHODS)
    return Resamples(count, seed, most) if method == "bootstrap" else Jackknife(count, seed, most)


@dataclass(frozen=True)
class Jackknife:
    """`count` groups of rows, drawn by a seed; of more rows than `most` a sample is looked at."""

    count: int = RESAMPLES
    seed: int = 0
    most: int = MOST_ROWS

    def of(self, rows: Any) -> LeftOut:
        """The groups of rows, or of a sample of them."""
        return LeftOut(self, *sampled(rows, self.most, self.seed))


@dataclass(frozen=True)
class LeftOut:
    """Rows of which one group after the other is left out, and what a deviation among them means for all rows."""

    groups: Jackknife
    rows: Any
    scale: float

    def intervals(self, kernels: Sequence[Kernel], values: Sequence[float]) -> list[tuple[float, float]]:
        """The 95 % interval around the value of each kernel, NaN where it is undefined."""
        without = [[kernel(self.rows, some) for kernel in kernels] for some in self._weights()]
        found = [np.concatenate([one[place] for one in without] or [np.empty(0)]) for place in range(len(kernels))]
        return [self._interval(*one) for one in zip(values, found, strict=True)]

    def _weights(self) -> Iterator[Floats]:
        """How much each row counts without each group, float64 of shape (groups, rows), some groups at a time."""
        size, weights = len(self.rows), self.rows.weights
        count = min(self.groups.count, size)
        if not count:
            return
        of_row = np.random.default_rng(self.groups.seed).permutation(size) % count
        block = max(1, _AT_ONCE // size)
        for start in range(0, count, block):
            left = np.arange(start, min(start + block, count))
            kept = (of_row != left[:, None]).astype(np.float64)
            yield kept if weights is None else kept * weights

    def _interval(self, value: float, found: Floats) -> tuple[float, float]:
        defined = found[~np.isnan(found)]
        if math.isnan(value) or defined.size < 2:
            return math.nan, math.nan
        # (groups - 1) / groups times the sum of the squared deviations.
        error = math.sqrt((defined.size - 1) * defined.var()) * self.scale
        reach = student_quantile(defined.size - 1) * error
        return value - reach, value + reach


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to three digits from 3 degrees of freedom on (Abramowitz and Stegun, 26.7.5).

    >>> round(student_quantile(10), 3), round(student_quantile(10_000), 3)
    (2.228, 1.96)
    """
    if freedom <= 2:
        return (12.706, 4.303)[freedom - 1]
    z = deviations()
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(freedom) ** (power + 1) for power, term in enumerate(terms))
