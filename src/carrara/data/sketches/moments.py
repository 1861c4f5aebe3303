"""Mean and variance of a stream of numbers, merged without loss of precision."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass
class Moments:
    """The weight, mean, and sum of squared distances from the mean; parts merge as Chan, Golub and LeVeque (1979).

    >>> moments = Moments()
    >>> moments.add(np.array([1.0, 3.0])); moments.add(np.array([5.0]))
    >>> moments.mean, moments.std
    (3.0, 1.632993161855452)
    """

    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def std(self) -> float:
        """The population's standard deviation; NaN without values."""
        return math.sqrt(max(self.squares, 0.0) / self.weight) if self.weight else math.nan

    def add(self, values: Floats, weights: Floats | None = None) -> None:
        """Take finite values, shape (n,), and their weights."""
        weight = float(values.size if weights is None else weights.sum())
        if weight <= 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            if weights is None:
                mean = float(values.mean())
                distance = values - mean
                squares = float(np.dot(distance, distance))
            else:
                mean = float(np.dot(values, weights) / weight)
                distance = values - mean
                squares = float(np.dot(distance * distance, weights))
        self.merge(Moments(weight, mean, squares))

    def merge(self, other: Moments) -> None:
        if not other.weight:
            return
        total = self.weight + other.weight
        apart = other.mean - self.mean
        self.squares += other.squares + apart * apart * self.weight * other.weight / total
        self.mean += apart * other.weight / total
        self.weight = total

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
