"""What outcomes there may be: drawn as often as they are probable, and what the metrics would then be.

The interval of an estimate is where a metric will be, in 95 of 100 windows, once the outcomes are known, if what the
inputs mean has not changed. It has two parts: which outcomes happen to come, by draws of them; and by which test rows
the probabilities were calibrated, by the same draws after other test rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from carrara.evaluation.metrics import Kind, MetricValue, labelled_rows, metric, rows_weights
from carrara.monitoring.estimate import Calibration, chances_of_classes
from carrara.monitoring.loss_estimate import Alike

Floats = npt.NDArray[np.float64]

_WORLDS = 100


class PossibleOutcomes(Protocol):
    """The outcomes of rows, as far as they can be told before they are known."""

    def draw(self, random: np.random.Generator) -> Floats:
        """Labels of all rows, as metrics take them."""

    def redrawn(self, random: np.random.Generator) -> PossibleOutcomes:
        """As other test rows would have told them."""


@dataclass(frozen=True)
class PossibleClasses:
    """By calibrated probabilities. `scores` have shape (rows, outputs): of several labels each may come by itself, of
    several classes one comes."""

    kind: Kind
    scores: Floats
    calibrations: Sequence[Calibration]

    def draw(self, random: np.random.Generator) -> Floats:
        if self.kind == "multiclass":
            chances = chances_of_classes(self.scores, self.calibrations).cumsum(axis=1)
            places = (random.random((len(chances), 1)) > chances).sum(axis=1)
            return np.asarray(np.minimum(places, self.scores.shape[1] - 1), np.float64)
        chances = np.column_stack([one.chances(self.scores[:, n]) for n, one in enumerate(self.calibrations)])
        labels = (random.random(chances.shape) < chances).astype(np.float64)
        return labels if self.kind == "multilabel" else labels[:, 0]

    def redrawn(self, random: np.random.Generator) -> PossibleClasses:
        return replace(self, calibrations=[one.redrawn(random) for one in self.calibrations])


@dataclass(frozen=True)
class PossibleNumbers:
    """By the errors (prediction less outcome) of test rows that are alike; `predictions` have shape (rows,)."""

    predictions: Floats
    errors: Floats
    alike: Alike

    def draw(self, random: np.random.Generator) -> Floats:
        return self.predictions - self.errors[self.alike.draw(random)]

    def redrawn(self, random: np.random.Generator) -> PossibleNumbers:
        return replace(self, alike=self.alike.redrawn(random))


@dataclass(frozen=True)
class Measured:
    """Which metrics of which rows there are to be; `scores` as metrics take them."""

    kind: Kind
    scores: Floats
    names: Sequence[str]
    threshold: float = 0.5

    def by(self, outcomes: PossibleOutcomes, dice: int) -> list[float]:
        """The metrics, if the outcomes are those that the dice give."""
        labels = outcomes.draw(np.random.default_rng(dice))
        rows = labelled_rows(self.kind, labels, self.scores, threshold=self.threshold)
        return [float(metric(name, self.kind).kernel(rows, rows_weights(rows))) for name in self.names]

    def mean(self, outcomes: PossibleOutcomes, worlds: int = 10) -> dict[str, float]:
        """What is expected of each metric."""
        found = np.array([self.by(outcomes, world) for world in range(worlds)])
        return {name: _mean(column) for name, column in zip(self.names, found.T, strict=True)}


def expected_metrics(
    outcomes: PossibleOutcomes, measured: Measured, *, values: Mapping[str, float] | None = None, rows: int = 0
) -> dict[str, MetricValue]:
    """Each metric with its interval; undefined ones are NaN.

    Where the rows are only some of `rows` rows, the metrics' expected `values` among all are given, and what chance
    does is scaled to all.
    """
    drawn = np.array([measured.by(outcomes, world) for world in range(_WORLDS)])
    others = [outcomes.redrawn(np.random.default_rng(_WORLDS + world)) for world in range(_WORLDS)]
    told_otherwise = np.array([measured.by(other, 0) for other in others])
    own, total = len(measured.scores), rows or len(measured.scores)
    chance = _deviations(drawn) * math.sqrt(own / total) + _deviations(told_otherwise)
    means = {name: _mean(column) for name, column in zip(measured.names, drawn.T, strict=True)}
    return {name: _value((values or means)[name], chance[:, n], total) for n, name in enumerate(measured.names)}


def _value(value: float, chance: Floats, rows: int) -> MetricValue:
    defined = chance[~np.isnan(chance)]
    if math.isnan(value) or not defined.size:
        return MetricValue(math.nan, math.nan, math.nan, rows)
    low, high = np.quantile(defined, (0.025, 0.975))
    return MetricValue(value, value + min(float(low), 0.0), value + max(float(high), 0.0), rows)


def _deviations(found: npt.NDArray[Any]) -> Floats:
    """From each metric's mean; NaN where it is undefined."""
    return np.asarray(found - np.array([_mean(column) for column in found.T]))


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
