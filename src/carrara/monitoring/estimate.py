"""How good a model probably is while no outcome is known: confidence-based performance estimation.

A calibrated score of 0.8 is right eight times in ten. So each row counts as positive with its score's weight and as
negative with the rest, and every metric has an expected value: CBPE, as NannyML describes it; Białek, Kuberski,
Perrakis and Bifet, "Estimating model performance under covariate shift without labels", 2024. It sees what a
shift of the inputs does to performance, and not a change of what the inputs mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.metrics import metric
from carrara.evaluation.multiclass import ClassifiedRows
from carrara.evaluation.ranked import RankedRows

Floats = npt.NDArray[np.float64]

_MOST_CELLS = 1_000_000
_BINS, _LEAST_IN_BIN = 20, 50


@dataclass(frozen=True)
class Calibration:
    """What was measured of scores: at `scores` the `rates` of positives, both rising, among so many `rows` each."""

    scores: Floats
    rates: Floats
    rows: Floats

    def chances(self, scores: Floats) -> Floats:
        """The probability of a positive at each score."""
        return np.interp(scores, self.scores, self.rates)

    def redrawn(self, random: np.random.Generator) -> Calibration:
        """As it would have been measured of other rows; as it is where it was measured of none."""
        if not self.rows.any():
            return self
        hits = random.binomial(self.rows.astype(np.int64), np.clip(self.rates, 0.0, 1.0))
        return _rising(self.scores, hits / np.maximum(self.rows, 1), self.rows)


AS_SAID = Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.zeros(2))
"""Scores that are taken for what they say."""


def estimated(
    scores: Floats, names: Sequence[str], *, calibration: Calibration | None = None, threshold: float = 0.5
) -> dict[str, float]:
    """The expected value of each metric of a binary label, from scores (0..1) of shape (rows,)."""
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return {}
    chances = scores if calibration is None else calibration.chances(scores)
    both = np.concatenate([scores, scores])
    order = np.argsort(-both, kind="stable")
    labels = np.concatenate([np.ones(scores.size), np.zeros(scores.size)])[order]
    weights = np.concatenate([chances, 1 - chances])[order]
    rows = RankedRows(labels, np.clip(both[order], 0.0, 1.0), threshold)
    return {name: float(metric(name, "binary").kernel(rows, weights)) for name in names}


def estimated_of_classes(
    scores: Floats, names: Sequence[str], *, calibrations: Sequence[Calibration]
) -> dict[str, float]:
    """The expected value of each metric of several classes, from probabilities of shape (rows, classes).

    A row counts as each of the classes, with that class's calibrated probability, which together are 1. Of many rows
    some are looked at, evenly drawn.
    """
    scores = scores[np.isfinite(scores).all(axis=1)]
    scores = scores[:: max(scores.size * scores.shape[1] // _MOST_CELLS, 1)]
    if not scores.size:
        return {}
    rows, classes = scores.shape
    chances = chances_of_classes(scores, calibrations)
    counted = ClassifiedRows(np.tile(np.arange(classes), rows), np.repeat(scores, classes, axis=0))
    return {name: float(metric(name, "multiclass").kernel(counted, chances.ravel())) for name in names}


def chances_of_classes(scores: Floats, calibrations: Sequence[Calibration]) -> Floats:
    """The calibrated probabilities, of shape (rows, classes), each row's together 1."""
    chances = np.column_stack([one.chances(scores[:, n]) for n, one in enumerate(calibrations)])
    whole = chances.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(chances, whole, out=scores.copy(), where=whole > 0))


def calibrations_of(labels: Floats, scores: Floats) -> list[Calibration]:
    """Of each class against the rest, or of each label, the rates that were measured at its probabilities.

    `labels` are places among the classes, or, of several labels, 0 and 1 of shape (rows, labels), as are `scores`; in
    bins of equal rows, at most twenty.
    """
    of = labels == 1 if labels.ndim == 2 else labels[:, None] == np.arange(scores.shape[1])
    return [_calibration(of[:, place], scores[:, place]) for place in range(scores.shape[1])]


def _calibration(positive: npt.NDArray[np.bool_], scores: Floats) -> Calibration:
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, int(np.clip(len(order) // _LEAST_IN_BIN, 1, _BINS)))
    means = np.array([scores[one].mean() for one in bins])
    return _rising(means, np.array([positive[one].mean() for one in bins]), np.array([len(one) for one in bins]))


def _rising(scores: Floats, rates: Floats, rows: npt.NDArray[Any]) -> Calibration:
    return Calibration(scores, np.maximum.accumulate(rates), rows.astype(np.float64))


def calibration_of(record: Mapping[str, Any]) -> Calibration | None:
    """What the evaluation measured of a version's calibration; None where its record has no such chart."""
    values = _values(record.get("charts", {}).get("calibration", {}))
    points = sorted({(v["x"], v["y"], v["rows"]) for v in values if {"x", "y", "rows"} <= v.keys()})
    return _rising(*np.array(points, np.float64).T) if len(points) > 1 else None


def _values(spec: Any) -> list[dict[str, Any]]:
    """The rows of data of a chart, wherever in it they stand."""
    if isinstance(spec, Mapping):
        found = spec.get("values")
        own = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return own + [row for key, value in spec.items() if key != "values" for row in _values(value)]
    return [row for item in spec for row in _values(item)] if isinstance(spec, list) else []
