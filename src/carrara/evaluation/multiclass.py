"""Metrics of a classifier with several classes: each one function of classified rows and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation import binary
from carrara.evaluation.ranked import CALIBRATION_BINS, RankedRows, as_weights, check_lengths
from carrara.evaluation.weighing import Floats, Ints, mean, mean_where_defined, ratio, sums_by

_ROUNDING = 1e-5
"""How far above 1 a probability of float32 may come to lie."""


@dataclass(frozen=True)
class ClassifiedRows:
    """`labels` are places among the classes, int64 of shape (rows,); `scores` are probabilities, (rows, classes)."""

    labels: Ints
    scores: Floats
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Ints) -> ClassifiedRows:
        weights = None if self.weights is None else self.weights[places]
        return ClassifiedRows(self.labels[places], self.scores[places], weights)

    @property
    def classes(self) -> int:
        return int(self.scores.shape[1])

    @cached_property
    def predicted(self) -> Ints:
        """The most probable class of each row, the first of equals."""
        return np.asarray(self.scores.argmax(axis=1))

    @cached_property
    def surprise(self) -> Floats:
        """The log loss of each row, in nats, clipped as scikit-learn does."""
        epsilon = np.finfo(np.float64).eps
        likelihood = self.scores[np.arange(len(self)), self.labels]
        return np.asarray(-np.log(np.clip(likelihood, epsilon, 1 - epsilon)))

    @cached_property
    def squared_error(self) -> Floats:
        """The sum over the classes of each row's squared difference of probability and what happened."""
        likelihood = self.scores[np.arange(len(self)), self.labels]
        return np.asarray((self.scores**2).sum(axis=1) - 2 * likelihood + 1)

    @cached_property
    def better(self) -> Ints:
        """How many classes have a higher probability than the row's own."""
        likelihood = self.scores[np.arange(len(self)), self.labels]
        return np.asarray((self.scores > likelihood[:, None]).sum(axis=1))

    @cached_property
    def ranked(self) -> list[tuple[Ints, RankedRows]]:
        """Each class against the rest: the rows' order by falling probability, and the rows in it."""
        found = []
        for place in range(self.classes):
            order = np.argsort(-self.scores[:, place], kind="stable")
            truth = (self.labels[order] == place).astype(np.float64)
            found.append((order, RankedRows(truth, self.scores[order, place])))
        return found

    def counts(self, weights: Floats) -> Floats:
        """The weight of each pair (label, predicted), of shape (…, classes, classes)."""
        found = sums_by(self.labels * self.classes + self.predicted, weights, self.classes**2)
        return found.reshape(*weights.shape[:-1], self.classes, self.classes)


def classified_rows(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> ClassifiedRows:
    """Check rows; raises DataError with counts when they cannot be measured. The threshold has no meaning here."""
    truth: npt.NDArray[Any] = np.asarray(labels)
    values = np.asarray(scores, dtype=np.float64)
    check_lengths(truth, values)
    if values.ndim != 2:
        raise DataError(f"scores of several classes have two dimensions, and these have {values.ndim}")
    if wrong := int((~np.isfinite(values)).any(axis=1).sum()):
        raise DataError(f"{wrong:,} of {len(values):,} scores are missing or infinite")
    if outside := int(((values < -_ROUNDING) | (values > 1 + _ROUNDING)).any(axis=1).sum()):
        raise DataError(
            f"{outside:,} of {len(values):,} rows have scores outside 0..1 (from {values.min():g} to {values.max():g})",
            hint="Scores must be the probabilities of the classes, not margins.",
        )
    if wrong := int(((truth < 0) | (truth >= values.shape[1])).sum()):
        raise DataError(f"{wrong:,} of {len(truth):,} labels are none of the {values.shape[1]} classes")
    return ClassifiedRows(truth.astype(np.int64), values, as_weights(weights, len(truth)))


def accuracy(rows: ClassifiedRows, weights: Floats) -> Any:
    """The share of rows whose most probable class is the right one."""
    return mean((rows.predicted == rows.labels).astype(np.float64), weights)


def top_accuracy(rows: ClassifiedRows, weights: Floats, k: int = 3) -> Any:
    """The share of rows whose class is among the `k` most probable ones (3, or as in `top_accuracy@5`)."""
    return mean((rows.better < k).astype(np.float64), weights)


def log_loss(rows: ClassifiedRows, weights: Floats) -> Any:
    """Mean of -ln(probability given to what happened)."""
    return mean(rows.surprise, weights)


def brier(rows: ClassifiedRows, weights: Floats) -> Any:
    """Mean over the rows of the summed squared difference of probability and what happened, from 0 to 2."""
    return mean(rows.squared_error, weights)


def calibration_error(rows: ClassifiedRows, weights: Floats) -> Any:
    """Mean |probability of the most probable class - its rate of being right| over ten bins of equal width."""
    top = rows.scores.max(axis=1)
    bins = np.clip((top * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    gaps = sums_by(bins, weights * (top - (rows.predicted == rows.labels)), CALIBRATION_BINS)
    return ratio(np.abs(gaps).sum(axis=-1), weights.sum(axis=-1))


def macro_precision(rows: ClassifiedRows, weights: Floats) -> Any:
    """The mean over the classes that are predicted of the share of those rows that are right."""
    hits, _, predicted = _by_class(rows, weights)
    return mean_where_defined(ratio(hits, predicted))


def macro_recall(rows: ClassifiedRows, weights: Floats) -> Any:
    """The mean over the classes that occur of the share of their rows that are found."""
    hits, labelled, _ = _by_class(rows, weights)
    return mean_where_defined(ratio(hits, labelled))


def macro_f1(rows: ClassifiedRows, weights: Floats) -> Any:
    """The mean over the classes that occur of the harmonic mean of precision and recall."""
    hits, labelled, predicted = _by_class(rows, weights)
    return mean_where_defined(ratio(2 * hits, labelled + predicted))


def weighted_f1(rows: ClassifiedRows, weights: Floats) -> Any:
    """The mean over the classes, by their rows, of the harmonic mean of precision and recall."""
    hits, labelled, predicted = _by_class(rows, weights)
    each = np.nan_to_num(ratio(2 * hits, labelled + predicted))
    return ratio((each * labelled).sum(axis=-1), labelled.sum(axis=-1))


def macro_roc_auc(rows: ClassifiedRows, weights: Floats) -> Any:
    """The mean over the classes of each one's area against the rest; classes without rows are left out."""
    areas = [binary.roc_auc(ranked, weights[..., order]) for order, ranked in rows.ranked]
    return mean_where_defined(np.stack(areas, axis=-1))


def macro_pr_auc(rows: ClassifiedRows, weights: Floats) -> Any:
    """The mean over the classes of each one's average precision against the rest; those without rows are left out."""
    areas = [binary.pr_auc(ranked, weights[..., order]) for order, ranked in rows.ranked]
    return mean_where_defined(np.stack(areas, axis=-1))


def class_precision(rows: ClassifiedRows, weights: Floats, k: int = 0) -> Any:
    """The share of the rows predicted to be of the class k that are."""
    hits, _, predicted = _of_class(rows, weights, k)
    return ratio(hits, predicted)


def class_recall(rows: ClassifiedRows, weights: Floats, k: int = 0) -> Any:
    """The share of the rows of the class k that are found."""
    hits, labelled, _ = _of_class(rows, weights, k)
    return ratio(hits, labelled)


def class_f1(rows: ClassifiedRows, weights: Floats, k: int = 0) -> Any:
    """The harmonic mean of precision and recall of the class k."""
    hits, labelled, predicted = _of_class(rows, weights, k)
    return ratio(2 * hits, labelled + predicted)


def class_roc_auc(rows: ClassifiedRows, weights: Floats, k: int = 0) -> Any:
    """The area under the ROC curve of the class k against the rest."""
    order, ranked = rows.ranked[_place(rows, k)]
    return binary.roc_auc(ranked, weights[..., order])


def class_pr_auc(rows: ClassifiedRows, weights: Floats, k: int = 0) -> Any:
    """The average precision of the class k against the rest."""
    order, ranked = rows.ranked[_place(rows, k)]
    return binary.pr_auc(ranked, weights[..., order])


def _of_class(rows: ClassifiedRows, weights: Floats, k: int) -> list[Floats]:
    return [of_each[..., _place(rows, k)] for of_each in _by_class(rows, weights)]


def _place(rows: ClassifiedRows, k: int) -> int:
    if not 0 <= k < rows.classes:
        raise DataError(
            f"there is no class {k}: they are 0 to {rows.classes - 1}", hint="class_recall@0, in their order."
        )
    return k


def _by_class(rows: ClassifiedRows, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Of each class the weight that is right, labelled so, and predicted so."""
    counts = rows.counts(weights)
    return np.einsum("...ii->...i", counts), counts.sum(axis=-1), counts.sum(axis=-2)
