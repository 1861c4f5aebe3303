"""Metrics of a regression: each is one function of predicted rows and their weights, NaN where it is undefined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import as_floats, as_weights
from carrara.evaluation.weighing import Floats, Ints, mean, ratio


@dataclass(frozen=True)
class PredictedRows:
    """Numbers and what was predicted of them, float64 of shape (rows,)."""

    labels: Floats
    scores: Floats
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Ints) -> PredictedRows:
        weights = None if self.weights is None else self.weights[places]
        return PredictedRows(self.labels[places], self.scores[places], weights)

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


def predicted_rows(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> PredictedRows:
    """Check rows; raises DataError with counts when they cannot be measured. The threshold has no meaning here.

    >>> len(predicted_rows([1.0, 2.0], [1.5, 2.0]))
    2
    """
    truth, values = as_floats(labels, scores)
    for what, numbers in (("labels", truth), ("predictions", values)):
        if wrong := int((~np.isfinite(numbers)).sum()):
            raise DataError(f"{wrong:,} of {len(numbers):,} {what} are missing or infinite")
    return PredictedRows(truth, values, as_weights(weights, len(truth)))


def mae(rows: PredictedRows, weights: Floats) -> Any:
    """Mean absolute error, in the label's unit."""
    return mean(rows.absolute_error, weights)


def mase(rows: PredictedRows, weights: Floats, scale: float) -> Any:
    """Mean absolute scaled error (Hyndman and Koehler, 2006): MAE over `scale`, that of a naive forecast of the
    training rows. Below 1 the model forecasts better than the naive one did there."""
    return mae(rows, weights) / scale if scale > 0 else mae(rows, weights) * np.nan


def rmse(rows: PredictedRows, weights: Floats) -> Any:
    """Root of the mean squared error, in the label's unit."""
    return np.sqrt(mean(rows.squared_error, weights))


def rmsle(rows: PredictedRows, weights: Floats) -> Any:
    """Root of the mean squared error of ln(1 + value); NaN where a label or a prediction is -1 or less."""
    if min(rows.labels.min(), rows.scores.min()) <= -1:
        return np.full(weights.shape[:-1], np.nan)[()]
    return np.sqrt(mean((np.log1p(rows.scores) - np.log1p(rows.labels)) ** 2, weights))


def r2(rows: PredictedRows, weights: Floats) -> Any:
    """The share of the labels' variance that is explained: 1 at best, 0 for the mean, NaN for equal labels."""
    # Around a centre near the mean, so that the difference of two large squares loses no digits.
    centred = rows.labels - rows.labels.mean()
    spread = mean(centred**2, weights) - mean(centred, weights) ** 2
    tiny = 1e-14 * float((centred**2).max())
    return 1 - ratio(mean(rows.squared_error, weights), np.where(spread > tiny, spread, 0.0))


def correlation(rows: PredictedRows, weights: Floats) -> Any:
    """Pearson's correlation of label and prediction, NaN where one of them does not vary."""
    labels, scores = rows.labels - rows.labels.mean(), rows.scores - rows.scores.mean()
    means = [mean(one, weights) for one in (labels, scores, labels * scores, labels**2, scores**2)]
    spreads = [means[3] - means[0] ** 2, means[4] - means[1] ** 2]
    tiny = [1e-14 * float((one**2).max()) for one in (labels, scores)]
    varied = [np.where(spread > least, spread, 0.0) for spread, least in zip(spreads, tiny, strict=True)]
    return ratio(means[2] - means[0] * means[1], np.sqrt(varied[0] * varied[1]))


def mape(rows: PredictedRows, weights: Floats) -> Any:
    """Mean absolute error as a share of the label, over the rows whose label is not 0."""
    there = ~np.isnan(rows.relative_error)
    return mean(rows.relative_error[there], weights[..., there])


def smape(rows: PredictedRows, weights: Floats) -> Any:
    """Mean of |error| over the mean of |label| and |prediction|, from 0 to 2; both 0 count as right."""
    size = (np.abs(rows.labels) + np.abs(rows.scores)) / 2
    return mean(np.divide(rows.absolute_error, size, out=np.zeros_like(size), where=size > 0), weights)


def wape(rows: PredictedRows, weights: Floats) -> Any:
    """The sum of absolute errors as a share of the sum of |labels|."""
    return ratio(weights @ rows.absolute_error, weights @ np.abs(rows.labels))


def quantile_loss(rows: PredictedRows, weights: Floats, quantile: float = 0.5) -> Any:
    """Mean pinball loss: what is predicted too low costs `quantile`, too high 1 - `quantile` (0.5: half the MAE)."""
    error = rows.labels - rows.scores
    return mean(np.maximum(quantile * error, (quantile - 1) * error), weights)


def bias(rows: PredictedRows, weights: Floats) -> Any:
    """Mean of prediction minus label, in the label's unit."""
    return mean(rows.scores - rows.labels, weights)


def mean_label(rows: PredictedRows, weights: Floats) -> Any:
    """The mean of the labels."""
    return mean(rows.labels, weights)


def mean_prediction(rows: PredictedRows, weights: Floats) -> Any:
    """The mean of the predictions."""
    return mean(rows.scores, weights)
