"""Metrics of a binary classifier: each is one function of ranked rows and their weights.

To add a metric: write a function `(rows, weights) -> float` here that returns NaN where it is undefined,
and name it in `metrics.METRICS`. Weights are counts of a resample, float64 of shape (rows,).
"""

from __future__ import annotations

import numpy as np

from carrara.evaluation.ranked import Floats, RankedRows


def roc_auc(rows: RankedRows, weights: Floats) -> float:
    """The chance that a positive row scores above a negative one; a tie counts half."""
    true_positives, false_positives = rows.curve(weights)
    pairs = true_positives[-1] * false_positives[-1]
    steps = np.diff(false_positives, prepend=0.0)
    heights = true_positives + np.concatenate(([0.0], true_positives[:-1]))
    return _ratio(float(steps @ heights) / 2, float(pairs))


def pr_auc(rows: RankedRows, weights: Floats) -> float:
    """Average precision: precision at each cut, weighted by the recall it adds (no interpolation)."""
    true_positives, false_positives = rows.curve(weights)
    predicted = true_positives + false_positives
    precision = np.divide(true_positives, predicted, out=np.zeros_like(predicted), where=predicted > 0)
    return _ratio(float(np.diff(true_positives, prepend=0.0) @ precision), float(true_positives[-1]))


def log_loss(rows: RankedRows, weights: Floats) -> float:
    """Mean of -ln(probability given to what happened)."""
    return _ratio(float(weights @ rows.surprise), float(weights.sum()))


def brier(rows: RankedRows, weights: Floats) -> float:
    """Mean squared difference of score and label."""
    return _ratio(float(weights @ rows.squared_error), float(weights.sum()))


def calibration_error(rows: RankedRows, weights: Floats) -> float:
    """Expected calibration error: mean |score - rate| over ten bins of equal width, by rows."""
    gaps = np.bincount(rows.calibration_bins, weights=weights * (rows.scores - rows.labels))
    return _ratio(float(np.abs(gaps).sum()), float(weights.sum()))


def accuracy(rows: RankedRows, weights: Floats) -> float:
    """Share of rows on the right side of the threshold."""
    _, false_positives, false_negatives = _at_threshold(rows, weights)
    total = float(weights.sum())
    return _ratio(total - false_positives - false_negatives, total)


def precision(rows: RankedRows, weights: Floats) -> float:
    """Share of the rows at or above the threshold that are positive."""
    true_positives, false_positives, _ = _at_threshold(rows, weights)
    return _ratio(true_positives, true_positives + false_positives)


def recall(rows: RankedRows, weights: Floats) -> float:
    """Share of the positive rows that are at or above the threshold."""
    true_positives, _, false_negatives = _at_threshold(rows, weights)
    return _ratio(true_positives, true_positives + false_negatives)


def f1(rows: RankedRows, weights: Floats) -> float:
    """Harmonic mean of precision and recall at the threshold."""
    true_positives, false_positives, false_negatives = _at_threshold(rows, weights)
    return _ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives)


def positive_rate(rows: RankedRows, weights: Floats) -> float:
    """Share of positive labels."""
    return _ratio(float(weights @ rows.labels), float(weights.sum()))


def mean_score(rows: RankedRows, weights: Floats) -> float:
    """Mean of the scores; near the positive rate when the model is calibrated in the large."""
    return _ratio(float(weights @ rows.scores), float(weights.sum()))


def _at_threshold(rows: RankedRows, weights: Floats) -> tuple[float, float, float]:
    """True positives, false positives and false negatives (weight)."""
    cut = rows.predicted_positive
    true_positives = float(weights[:cut] @ rows.labels[:cut])
    false_positives = float(weights[:cut].sum()) - true_positives
    return true_positives, false_positives, float(weights[cut:] @ rows.labels[cut:])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
