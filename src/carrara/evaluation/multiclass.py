"""Metrics of a classifier with several classes: each one function of classified rows and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation import binary
from carrara.evaluation.ranked import Floats, Ints, RankedRows, check_lengths


@dataclass(frozen=True)
class ClassifiedRows:
    """`labels` are places among the classes, int64 of shape (rows,); `scores` are probabilities, (rows, classes)."""

    labels: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.labels)

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
    def ranked(self) -> list[tuple[Ints, RankedRows]]:
        """Each class against the rest: the rows' order by falling probability, and the rows in it."""
        found = []
        for place in range(self.classes):
            order = np.argsort(-self.scores[:, place], kind="stable")
            truth = (self.labels[order] == place).astype(np.float64)
            found.append((order, RankedRows(truth, self.scores[order, place])))
        return found

    def counts(self, weights: Floats) -> Floats:
        """The weight of each pair (label, predicted), of shape (classes, classes)."""
        pairs = self.labels * self.classes + self.predicted
        found = np.bincount(pairs, weights=weights, minlength=self.classes**2)
        return np.asarray(found.reshape(self.classes, self.classes), np.float64)


def classified_rows(labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5) -> ClassifiedRows:
    """Check rows; raises DataError with counts when they cannot be measured. The threshold has no meaning here."""
    truth: npt.NDArray[Any] = np.asarray(labels)
    values = np.asarray(scores, dtype=np.float64)
    check_lengths(truth, values)
    if values.ndim != 2:
        raise DataError(f"scores of several classes have two dimensions, and these have {values.ndim}")
    if wrong := int((~np.isfinite(values)).any(axis=1).sum()):
        raise DataError(f"{wrong:,} of {len(values):,} scores are missing or infinite")
    if wrong := int(((truth < 0) | (truth >= values.shape[1])).sum()):
        raise DataError(f"{wrong:,} of {len(truth):,} labels are none of the {values.shape[1]} classes")
    return ClassifiedRows(truth.astype(np.int64), values)


def accuracy(rows: ClassifiedRows, weights: Floats) -> float:
    """The share of rows whose most probable class is the right one."""
    return _ratio(float(weights @ (rows.predicted == rows.labels)), float(weights.sum()))


def log_loss(rows: ClassifiedRows, weights: Floats) -> float:
    """Mean of -ln(probability given to what happened)."""
    return _ratio(float(weights @ rows.surprise), float(weights.sum()))


def macro_f1(rows: ClassifiedRows, weights: Floats) -> float:
    """The mean over the classes that occur of the harmonic mean of precision and recall."""
    counts = rows.counts(weights)
    hits, labelled, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    there = (labelled + predicted) > 0
    return float((2 * hits[there] / (labelled + predicted)[there]).mean()) if there.any() else float("nan")


def macro_roc_auc(rows: ClassifiedRows, weights: Floats) -> float:
    """The mean over the classes of each one's area against the rest; classes without rows are left out."""
    areas = np.array([binary.roc_auc(ranked, weights[order]) for order, ranked in rows.ranked])
    return float(np.nanmean(areas)) if not np.isnan(areas).all() else float("nan")


def _ratio(share: float, whole: float) -> float:
    return share / whole if whole > 0 else float("nan")
