"""Metrics of a binary classifier: each is one function of ranked rows and their weights.

To add a metric: write a function `(rows, weights) -> float` here that returns NaN where it is undefined,
and name it in `metrics.METRICS_OF`. Weights have shape (rows,), or (resamples, rows) for a value per resample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from carrara.evaluation.ranked import CALIBRATION_BINS, RankedRows
from carrara.evaluation.weighing import Floats, dot, mean, ratio, sums_by


def roc_auc(rows: RankedRows, weights: Floats) -> Any:
    """The chance that a positive row scores above a negative one; a tie counts half."""
    true_positives, false_positives = rows.curve(weights)
    pairs = true_positives[..., -1] * false_positives[..., -1]
    steps = np.diff(false_positives, prepend=0.0)
    area = dot(steps, true_positives) + dot(steps[..., 1:], true_positives[..., :-1])
    return ratio(area / 2, pairs)


def pr_auc(rows: RankedRows, weights: Floats) -> Any:
    """Average precision: precision at each cut, weighted by the recall it adds (no interpolation)."""
    true_positives, false_positives = rows.curve(weights)
    precision = true_positives + false_positives
    np.divide(true_positives, precision, out=precision, where=precision > 0)  # in place: both are 0 where it is not
    return ratio(dot(np.diff(true_positives, prepend=0.0), precision), true_positives[..., -1])


def log_loss(rows: RankedRows, weights: Floats) -> Any:
    """Mean of -ln(probability given to what happened)."""
    return mean(rows.surprise, weights)


def brier(rows: RankedRows, weights: Floats) -> Any:
    """Mean squared difference of score and label."""
    return mean(rows.squared_error, weights)


def calibration_error(rows: RankedRows, weights: Floats) -> Any:
    """Expected calibration error: mean |score - rate| over ten bins of equal width, by rows."""
    gaps = sums_by(rows.calibration_bins, weights * (rows.scores - rows.labels), CALIBRATION_BINS)
    return ratio(np.abs(gaps).sum(axis=-1), weights.sum(axis=-1))


def accuracy(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows on the right side of the threshold."""
    hits, _, _, rejected = at_threshold(rows, weights, threshold)
    return ratio(hits + rejected, weights.sum(axis=-1))


def precision(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of the rows at or above the threshold that are positive."""
    hits, alarms, _, _ = at_threshold(rows, weights, threshold)
    return ratio(hits, hits + alarms)


def recall(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of the positive rows that are at or above the threshold."""
    hits, _, missed, _ = at_threshold(rows, weights, threshold)
    return ratio(hits, hits + missed)


def f1(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Harmonic mean of precision and recall at the threshold."""
    hits, alarms, missed, _ = at_threshold(rows, weights, threshold)
    return ratio(2 * hits, 2 * hits + alarms + missed)


def false_positive_rate(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of the negative rows that are at or above the threshold."""
    _, alarms, _, rejected = at_threshold(rows, weights, threshold)
    return ratio(alarms, alarms + rejected)


def specificity(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of the negative rows that are below the threshold."""
    _, alarms, _, rejected = at_threshold(rows, weights, threshold)
    return ratio(rejected, rejected + alarms)


def negative_predictive_value(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of the rows below the threshold that are negative."""
    _, _, missed, rejected = at_threshold(rows, weights, threshold)
    return ratio(rejected, rejected + missed)


def recall_at_precision(rows: RankedRows, weights: Floats, precision: float = 0.9) -> Any:
    """The highest recall of a threshold at which the precision is at least this, 0 where there is none."""
    hits, alarms = rows.curve(weights)
    there = hits >= precision * (hits + alarms) - 1e-12
    return ratio(np.where(there, hits, 0.0).max(axis=-1), hits[..., -1])


def precision_at_recall(rows: RankedRows, weights: Floats, recall: float = 0.9) -> Any:
    """The highest precision of a threshold at which the recall is at least this."""
    hits, alarms = rows.curve(weights)
    there = hits >= recall * hits[..., -1:] - 1e-12
    found = np.where(there, ratio(hits, hits + alarms), 0.0).max(axis=-1)
    return np.where(hits[..., -1] > 0, found, np.nan)[()]


def balanced_accuracy(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """The mean of both labels' shares of rows on the right side of the threshold."""
    hits, alarms, missed, rejected = at_threshold(rows, weights, threshold)
    return (ratio(hits, hits + missed) + ratio(rejected, rejected + alarms)) / 2


def mcc(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Matthews' correlation of label and prediction at the threshold."""
    hits, alarms, missed, rejected = at_threshold(rows, weights, threshold)
    spread = (hits + alarms) * (hits + missed) * (rejected + alarms) * (rejected + missed)
    return ratio(hits * rejected - alarms * missed, np.sqrt(np.maximum(spread, 0.0)))


def predicted_rate(rows: RankedRows, weights: Floats, threshold: float | None = None) -> Any:
    """Share of rows at or above the threshold."""
    hits, alarms, _, _ = at_threshold(rows, weights, threshold)
    return ratio(hits + alarms, weights.sum(axis=-1))


def positive_rate(rows: RankedRows, weights: Floats) -> Any:
    """Share of positive labels."""
    return mean(rows.labels, weights)


def mean_score(rows: RankedRows, weights: Floats) -> Any:
    """Mean of the scores; near the positive rate when the model is calibrated in the large."""
    return mean(rows.scores, weights)


def at_threshold(rows: RankedRows, weights: Floats, threshold: float | None = None) -> tuple[Any, Any, Any, Any]:
    """True positives, false positives, false negatives and true negatives (weight), by the rows' own threshold."""
    cut = rows.predicted_positive if threshold is None else rows.at_least(threshold)
    true_positives, false_positives = rows.curve(weights)
    # Rows of equal scores are on one side: the cut is the end of a step of the curve.
    step = int(np.searchsorted(rows.ends, cut - 1, side="right"))
    hits = true_positives[..., step - 1] if step else np.zeros(weights.shape[:-1])
    alarms = false_positives[..., step - 1] if step else np.zeros(weights.shape[:-1])
    return hits, alarms, true_positives[..., -1] - hits, false_positives[..., -1] - alarms
