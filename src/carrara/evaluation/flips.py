"""Flips: answers that turn when a row is changed, or when another version is asked; rates are shares of all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.ranked import as_floats, as_weights, check_scores
from carrara.evaluation.weighing import Floats, Ints, mean


@dataclass(frozen=True)
class TurnedRows:
    """`labels` are the scores before, `scores` those after (0..1), float64 of shape (rows,); a row is positive when its
    score is at least `threshold`."""

    labels: Floats
    scores: Floats
    threshold: float = 0.5
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, places: Ints) -> TurnedRows:
        weights = None if self.weights is None else self.weights[places]
        return TurnedRows(self.labels[places], self.scores[places], self.threshold, weights)


def turned_rows(
    before: npt.ArrayLike, after: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> TurnedRows:
    """Check rows; raises DataError with counts when they cannot be measured."""
    one, other = as_floats(before, after)
    check_scores(one)
    check_scores(other)
    return TurnedRows(one, other, threshold, as_weights(weights, len(one)))


def flip_rate(rows: TurnedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows that are answered otherwise, in whichever direction."""
    before, after = _positive(rows, threshold)
    return mean((before != after).astype(np.float64), weights)


def positive_to_negative(rows: TurnedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows that were positive and no longer are."""
    before, after = _positive(rows, threshold)
    return mean((before & ~after).astype(np.float64), weights)


def negative_to_positive(rows: TurnedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows that were negative and no longer are."""
    before, after = _positive(rows, threshold)
    return mean((~before & after).astype(np.float64), weights)


def positive_to_positive(rows: TurnedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows that were positive and still are."""
    before, after = _positive(rows, threshold)
    return mean((before & after).astype(np.float64), weights)


def negative_to_negative(rows: TurnedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows that were negative and still are."""
    before, after = _positive(rows, threshold)
    return mean((~before & ~after).astype(np.float64), weights)


def mean_shift(rows: TurnedRows, weights: Floats) -> Any:
    """By how much scores rise on average."""
    return mean(rows.scores - rows.labels, weights)


def _positive(rows: TurnedRows, threshold: float | None) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    cut = rows.threshold if threshold is None else threshold
    return rows.labels >= cut, rows.scores >= cut
