"""Labelled scores, checked and ordered once, so that no resample is ever sorted again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.weighing import Floats, Ints

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class RankedRows:
    """Rows by falling score: `labels` (0.0 or 1.0) and `scores` (0..1), both float64 of shape (rows,).

    A row is predicted positive when its score is at least `threshold`. What depends on the rows but not
    on their weights is computed once and kept, because a bootstrap asks for it at every resample.
    """

    labels: Floats
    scores: Floats
    threshold: float = 0.5
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, places: Ints) -> RankedRows:
        """Some of the rows, by rising places."""
        weights = None if self.weights is None else self.weights[places]
        taken = RankedRows(self.labels[places], self.scores[places], self.threshold, weights)
        # What was computed of all rows is not computed again of each slice.
        for name in ("surprise", "squared_error"):
            if name in self.__dict__:
                taken.__dict__[name] = self.__dict__[name][places]
        return taken

    @cached_property
    def ends(self) -> Ints:
        """The last row of each group of equal scores: ties are one step of a curve, not many."""
        last = np.ones(len(self), bool)
        np.not_equal(self.scores[1:], self.scores[:-1], out=last[:-1])
        return np.flatnonzero(last)

    @property
    def predicted_positive(self) -> int:
        """How many rows, from the first, have a score of at least the threshold."""
        return self.at_least(self.threshold)

    def at_least(self, threshold: float) -> int:
        """How many rows, from the first, have a score of at least `threshold`."""
        return len(self) - int(np.searchsorted(self.scores[::-1], threshold, side="left"))

    @cached_property
    def calibration_bins(self) -> npt.NDArray[np.uint8]:
        """The bin of each row: equal widths, [0, 0.1), …, [0.9, 1]."""
        return np.minimum((self.scores * CALIBRATION_BINS).astype(np.uint8), CALIBRATION_BINS - 1)

    @cached_property
    def surprise(self) -> Floats:
        """The log loss of each row, in nats; scores are clipped to [ε, 1-ε], ε = 2.2e-16, as scikit-learn does."""
        epsilon = np.finfo(np.float64).eps
        likelihood = np.clip(np.where(self.labels == 1, self.scores, 1 - self.scores), epsilon, 1 - epsilon)
        return np.asarray(-np.log(likelihood))

    @cached_property
    def squared_error(self) -> Floats:
        return np.asarray((self.scores - self.labels) ** 2)

    def afresh(self) -> RankedRows:
        """The same rows, and nothing that was computed of them: of many rows that is more than the rows."""
        return RankedRows(self.labels, self.scores, self.threshold, self.weights)

    def curve(self, weights: Floats) -> tuple[Floats, Floats]:
        """True and false positives (weight) when the cut is below each group of equal scores."""
        kept = self.__dict__.get("_curve")
        if kept is None or kept[0] is not weights:
            # Both areas ask for it, one after the other.
            kept = self.__dict__["_curve"] = (weights, *self._counted(weights))
        return kept[1], kept[2]

    def _counted(self, weights: Floats) -> tuple[Floats, Floats]:
        predicted = np.cumsum(weights, axis=-1)
        true_positives = np.cumsum(weights * self.labels, axis=-1)
        if len(self.ends) < len(self):
            predicted, true_positives = predicted[..., self.ends], true_positives[..., self.ends]
        return true_positives, predicted - true_positives


def rank(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> RankedRows:
    """Check and order rows; raises DataError with counts when they cannot be measured.

    >>> rank([0, 1, 1], [0.2, 0.9, 0.4]).scores.tolist()
    [0.9, 0.4, 0.2]
    """
    truth, values = as_floats(labels, scores)
    check_scores(values)
    check_labels(truth)
    heavy = as_weights(weights, len(truth))
    order = np.argsort(-values, kind="stable")
    truth, values = truth[order], values[order]  # of many rows, one copy at a time
    return RankedRows(truth, values, threshold, None if heavy is None else heavy[order])


def as_floats(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Labels and scores of shape (rows,) as float64; DataError for others."""
    truth, values = np.asarray(labels), np.asarray(scores)
    if truth.ndim != 1 or values.ndim != 1:
        raise DataError(f"labels and scores must have one dimension, and have {truth.ndim} and {values.ndim}")
    check_lengths(truth, values)
    return _as_floats(truth, "labels"), _as_floats(values, "scores")


def as_weights(weights: npt.ArrayLike | None, rows: int) -> Floats | None:
    """Example weights of shape (rows,) as float64; DataError where they are negative, missing, or all 0."""
    if weights is None:
        return None
    found = _as_floats(np.asarray(weights), "weights")
    if found.shape != (rows,):
        raise DataError(f"there are {rows:,} rows and weights of shape {found.shape}")
    if wrong := int((~(np.isfinite(found) & (found >= 0))).sum()):
        raise DataError(f"{wrong:,} of {rows:,} weights are negative, missing or infinite")
    if not found.any():
        raise DataError("all weights are 0")
    return found


def check_lengths(labels: npt.NDArray[Any], scores: npt.NDArray[Any]) -> None:
    if len(labels) != len(scores):
        raise DataError(f"there are {len(labels):,} labels and {len(scores):,} scores")
    if len(labels) == 0:
        raise DataError("there are no rows to evaluate", hint="Check the split: its test part is empty.")


def check_scores(scores: Floats) -> None:
    """DataError for probabilities that are missing or outside 0..1."""
    if missing := int(np.isnan(scores).sum()):
        raise DataError(
            f"{missing:,} of {scores.size:,} scores are NaN", hint="Check the model's inputs for these rows."
        )
    if outside := int(((scores < 0) | (scores > 1)).sum()):
        raise DataError(
            f"{outside:,} of {scores.size:,} scores are outside 0..1 (from {scores.min():g} to {scores.max():g})",
            hint="Scores must be probabilities of the positive class, not margins.",
        )


def check_labels(labels: Floats) -> None:
    if wrong := int(((labels != 0) & (labels != 1)).sum()):
        raise DataError(
            f"{wrong:,} of {labels.size:,} labels are neither 0 nor 1",
            hint="Drop the rows without a label, or make the label a boolean.",
        )


def _as_floats(values: npt.NDArray[Any], what: str) -> Floats:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the {what} are not numbers: {error}") from error
