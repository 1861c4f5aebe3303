"""Metrics of several yes-or-no labels at once: each one function of labelled rows and their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation import binary
from carrara.evaluation.ranked import RankedRows, as_weights, check_labels, check_lengths, check_scores
from carrara.evaluation.weighing import Floats, Ints, mean, mean_where_defined, ratio


@dataclass(frozen=True)
class MultilabelRows:
    """`labels` (0.0 or 1.0) and `scores` (0..1), float64 of shape (rows, outputs)."""

    labels: Floats
    scores: Floats
    threshold: float = 0.5
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Ints) -> MultilabelRows:
        weights = None if self.weights is None else self.weights[places]
        return MultilabelRows(self.labels[places], self.scores[places], self.threshold, weights)

    @cached_property
    def predicted(self) -> Floats:
        return (self.scores >= self.threshold).astype(np.float64)

    @cached_property
    def ranked(self) -> list[tuple[Ints, RankedRows]]:
        """Each output's rows by falling score, and their order."""
        orders = [np.argsort(-column, kind="stable") for column in self.scores.T]
        columns = enumerate(orders)
        return [
            (order, RankedRows(self.labels[order, n], self.scores[order, n], self.threshold)) for n, order in columns
        ]

    @cached_property
    def flat(self) -> tuple[Ints, RankedRows]:
        """All outputs as one: the row of each, and the rows by falling score."""
        order = np.argsort(-self.scores.ravel(), kind="stable")
        rows = RankedRows(self.labels.ravel()[order], self.scores.ravel()[order], self.threshold)
        return order // self.labels.shape[1], rows


def multilabel_rows(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> MultilabelRows:
    """Check rows; raises DataError with counts when they cannot be measured."""
    truth, values = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    check_lengths(truth, values)
    if truth.ndim != 2 or truth.shape != values.shape:
        raise DataError(f"labels and scores have a column an output, and have shapes {truth.shape} and {values.shape}")
    check_scores(values)
    check_labels(truth)
    return MultilabelRows(truth, values, threshold, as_weights(weights, len(truth)))


def macro_roc_auc(rows: MultilabelRows, weights: Floats) -> Any:
    """The mean over the outputs of the area under the ROC curve; outputs of one label are left out."""
    return _macro(binary.roc_auc, rows, weights)


def macro_pr_auc(rows: MultilabelRows, weights: Floats) -> Any:
    """The mean over the outputs of average precision; outputs without a positive are left out."""
    return _macro(binary.pr_auc, rows, weights)


def macro_f1(rows: MultilabelRows, weights: Floats) -> Any:
    """The mean over the outputs of F1 at the threshold; outputs without a positive are left out."""
    return _macro(binary.f1, rows, weights)


def micro_roc_auc(rows: MultilabelRows, weights: Floats) -> Any:
    """The area under the ROC curve of all outputs as one."""
    return _micro(binary.roc_auc, rows, weights)


def micro_pr_auc(rows: MultilabelRows, weights: Floats) -> Any:
    """Average precision of all outputs as one."""
    return _micro(binary.pr_auc, rows, weights)


def micro_f1(rows: MultilabelRows, weights: Floats) -> Any:
    """F1 at the threshold of all outputs as one."""
    return _micro(binary.f1, rows, weights)


def log_loss(rows: MultilabelRows, weights: Floats) -> Any:
    """Mean over rows and outputs of -ln(probability given to what happened)."""
    return _micro(binary.log_loss, rows, weights)


def hamming_loss(rows: MultilabelRows, weights: Floats) -> Any:
    """The share of outputs on the wrong side of the threshold."""
    return mean((rows.predicted != rows.labels).mean(axis=1), weights)


def exact_match(rows: MultilabelRows, weights: Floats) -> Any:
    """The share of rows with every output on the right side of the threshold."""
    return mean((rows.predicted == rows.labels).all(axis=1).astype(np.float64), weights)


def jaccard(rows: MultilabelRows, weights: Floats) -> Any:
    """The mean over the rows of what labels and predictions share, over what either has; both empty count as 0."""
    shared = (rows.predicted * rows.labels).sum(axis=1)
    either = np.maximum(rows.predicted, rows.labels).sum(axis=1)
    return mean(np.nan_to_num(ratio(shared, either)), weights)


def _macro(kernel: Callable[[RankedRows, Floats], Any], rows: MultilabelRows, weights: Floats) -> Any:
    return mean_where_defined(np.stack([kernel(one, weights[..., order]) for order, one in rows.ranked], axis=-1))


def _micro(kernel: Callable[[RankedRows, Floats], Any], rows: MultilabelRows, weights: Floats) -> Any:
    places, flat = rows.flat
    return kernel(flat, weights[..., places])
