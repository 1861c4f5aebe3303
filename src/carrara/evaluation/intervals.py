"""Bootstrap intervals: of how many rows ever, at the price of a few thousand.

Each row counts Poisson(1) times in a resample (Chamandy, Muralidharan, Najmi and Naidu, "Estimating uncertainty for
massive data streams", 2012), so that rows that are sorted stay sorted. Of more rows than `most` a stratified sample of
`most` is resampled, and what the value varies is scaled by sqrt(sample / rows): the m out of n bootstrap (Bickel,
Götze and van Zwet, 1997).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.weighing import Floats

RESAMPLES = 200
MOST_ROWS = 20_000

_AT_ONCE = 500_000
_MOST_ONES = 4_000_000


def deviations(count: int = 1) -> float:
    """How many standard errors intervals of 95 % reach to each side, where `count` of them hold together (Bonferroni).

    >>> round(deviations(), 2), round(deviations(20), 2)
    (1.96, 3.02)
    """
    return NormalDist().inv_cdf(1 - 0.025 / count)


Kernel = Callable[[Any, Floats], Any]


@dataclass(frozen=True)
class Resamples:
    """So many resamples by a seed; the draws are shared by all that is measured with them."""

    count: int = RESAMPLES
    seed: int = 0
    most: int = MOST_ROWS

    @staticmethod
    def ones(rows: int) -> Floats:
        # Of many rows one is read again and again: an array of ones is as large as their scores.
        return np.ones(rows) if rows <= _MOST_ONES else np.broadcast_to(1.0, rows)

    def of(self, rows: Any) -> Drawn:
        """The resamples of rows, or of a sample of them."""
        return Drawn(self, *sampled(rows, self.most, self.seed))

    def draws(self, rows: int) -> Iterator[Floats]:
        """How often each of `rows` rows counts, float64 of shape (resamples, rows), some resamples at a time."""
        block = max(1, _AT_ONCE // max(rows, 1))
        for start in range(0, self.count, block):
            yield self._pool(rows)[start : start + block, :rows].astype(np.float64)

    def _pool(self, rows: int) -> npt.NDArray[np.uint8]:
        # Few rows need few draws, which are those that many would begin with.
        return self._small if rows <= self._small.shape[1] else self._large

    @cached_property
    def _small(self) -> npt.NDArray[np.uint8]:
        return self._drawn(min(self.most, 2_048))

    @cached_property
    def _large(self) -> npt.NDArray[np.uint8]:
        return self._drawn(self.most)

    def _drawn(self, columns: int) -> npt.NDArray[np.uint8]:
        return np.random.default_rng(self.seed).poisson(1.0, (self.count, columns)).astype(np.uint8)


def sampled(rows: Any, most: int, seed: int) -> tuple[Any, float]:
    """At most so many of the rows, and by what a deviation among them is to be multiplied to be one among all.

    One row of each of `most` stretches of equal length is taken, so that a sample of ranked rows has all scores.
    """
    size = len(rows)
    if size <= most:
        return rows, 1.0
    random = np.random.default_rng(seed)
    steps = (np.arange(most) + random.random(most)) * (size / most)
    return rows.take(np.minimum(steps.astype(np.int64), size - 1)), math.sqrt(most / size)


@dataclass(frozen=True)
class Drawn:
    """Rows that are resampled, and what a deviation among them means for all rows."""

    resamples: Resamples
    rows: Any
    scale: float

    def intervals(self, kernels: Sequence[Kernel], values: Sequence[float]) -> list[tuple[float, float]]:
        """The 95 % interval around the value of each kernel, NaN where it is undefined."""
        resampled = self._resampled(kernels)
        return [self._interval(*one) for one in zip(kernels, values, resampled, strict=True)]

    def _resampled(self, kernels: Sequence[Kernel]) -> Floats:
        """The value of each kernel in each resample, of shape (kernels, resamples)."""
        weights, found = self.rows.weights, np.full((len(kernels), self.resamples.count), np.nan)
        done = 0
        for draws in self.resamples.draws(len(self.rows)):
            heavy = draws if weights is None else draws * weights
            for place, kernel in enumerate(kernels):
                found[place, done : done + len(draws)] = kernel(self.rows, heavy)
            done += len(draws)
        return found

    def _interval(self, kernel: Kernel, value: float, resampled: Floats) -> tuple[float, float]:
        defined = resampled[~np.isnan(resampled)]
        if math.isnan(value) or not defined.size:
            return math.nan, math.nan
        low, high = np.quantile(defined, (0.025, 0.975))
        if self.scale < 1:
            weights = self.rows.weights
            centre = float(kernel(self.rows, np.ones(len(self.rows)) if weights is None else weights))
            low, high = value + (low - centre) * self.scale, value + (high - centre) * self.scale
        # Resampling adds noise, which can only raise a calibration error: its percentiles may lie above the value.
        return min(float(low), value), max(float(high), value)
