"""Metrics of a regression: each is one function of predicted rows and their weights, NaN where it is undefined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import Floats, as_floats


@dataclass(frozen=True)
class PredictedRows:
    """Numbers and what was predicted of them, float64 of shape (rows,)."""

    labels: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def absolute_error(self) -> Floats:
        return np.asarray(np.abs(self.scores - self.labels))

    @cached_property
    def squared_error(self) -> Floats:
        return np.asarray((self.scores - self.labels) ** 2)

    @cached_property
    def relative_error(self) -> Floats:
        """NaN where the label is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.labels == 0, np.nan, self.absolute_error / np.abs(self.labels))


def predicted_rows(labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5) -> PredictedRows:
    """Check rows; raises DataError with counts when they cannot be measured. The threshold has no meaning here.

    >>> len(predicted_rows([1.0, 2.0], [1.5, 2.0]))
    2
    """
    truth, values = as_floats(labels, scores)
    for what, numbers in (("labels", truth), ("predictions", values)):
        if wrong := int((~np.isfinite(numbers)).sum()):
            raise DataError(f"{wrong:,} of {len(numbers):,} {what} are missing or infinite")
    return PredictedRows(truth, values)


def mae(rows: PredictedRows, weights: Floats) -> float:
    """Mean absolute error, in the label's unit."""
    return _mean(rows.absolute_error, weights)


def rmse(rows: PredictedRows, weights: Floats) -> float:
    """Root of the mean squared error, in the label's unit."""
    return float(np.sqrt(_mean(rows.squared_error, weights)))


def r2(rows: PredictedRows, weights: Floats) -> float:
    """The share of the labels' variance that is explained: 1 at best, 0 for the mean, NaN for equal labels."""
    spread = _mean((rows.labels - _mean(rows.labels, weights)) ** 2, weights)
    return 1 - _mean(rows.squared_error, weights) / spread if spread > 0 else float("nan")


def mape(rows: PredictedRows, weights: Floats) -> float:
    """Mean absolute error as a share of the label, over the rows whose label is not 0."""
    there = ~np.isnan(rows.relative_error)
    return _mean(rows.relative_error[there], weights[there])


def bias(rows: PredictedRows, weights: Floats) -> float:
    """Mean of prediction minus label, in the label's unit."""
    return _mean(rows.scores - rows.labels, weights)


def mean_label(rows: PredictedRows, weights: Floats) -> float:
    """The mean of the labels."""
    return _mean(rows.labels, weights)


def mean_prediction(rows: PredictedRows, weights: Floats) -> float:
    """The mean of the predictions."""
    return _mean(rows.scores, weights)


def _mean(values: Floats, weights: Floats) -> float:
    total = float(weights.sum())
    return float(weights @ values) / total if total > 0 else float("nan")
