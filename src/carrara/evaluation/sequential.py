"""Tests that may be looked at after every request: their error rate holds however often one looks.

Each is an e-value: a product of likelihood ratios whose expectation is at most 1 while nothing is wrong, so that it
reaches 1/alpha with a probability of at most alpha, ever (Ville's inequality). Pure functions of counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_TIMES_AS_OFTEN = np.array([1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0])
"""The alternatives that are mixed: by how much the odds exceed what is allowed."""
_STEPS = 60


@dataclass(frozen=True)
class Stratum:
    """Events of two arms in one stretch of time: `events` of `trials` each, the candidate's and the baseline's."""

    events: int
    trials: int
    baseline_events: int
    baseline_trials: int


class RateTest:
    """Whether events happen more often in the candidate than in the baseline beside it, stratum after stratum.

    Fisher's exact test made sequential: given how many events a stratum has, how many of them are the candidate's
    follows from the arms' trials alone, whatever the rate is; so the rate may change with time, and so may the shares.
    `odds` is what is allowed: at 2, twice the baseline's odds are still no reason to stop.
    """

    def __init__(self, odds: float = 1.0) -> None:
        self._null = math.log(odds)
        self._alternatives = self._null + np.log(_TIMES_AS_OFTEN)
        self._logs = np.zeros(len(_TIMES_AS_OFTEN))
        self.events = self.trials = self.baseline_events = self.baseline_trials = 0

    def add(self, found: Stratum) -> None:
        """Take what was seen in one more stretch of time."""
        self.events += found.events
        self.trials += found.trials
        self.baseline_events += found.baseline_events
        self.baseline_trials += found.baseline_trials
        both = found.events + found.baseline_events
        if both and found.trials and found.baseline_trials:
            self._logs += self._ratio(found, both)

    @property
    def evidence(self) -> float:
        """The e-value: 100 or more happens with a probability of 1 % where the candidate is as the baseline is."""
        return _mean_exp(self._logs)

    def _ratio(self, found: Stratum, both: int) -> Floats:
        """The log likelihood ratios of the candidate's part of the events (noncentral hypergeometric)."""
        possible = np.arange(max(0, both - found.baseline_trials), min(both, found.trials) + 1)
        weights = _log_choose(found.trials, possible) + _log_choose(found.baseline_trials, both - possible)
        logs = weights + np.multiply.outer(np.append(self._alternatives, self._null), possible)
        top = logs.max(axis=1, keepdims=True)
        totals = np.log(np.exp(logs - top).sum(axis=1)) + top[:, 0]
        ratio: Floats = found.events * (self._alternatives - self._null) - (totals[:-1] - totals[-1])
        return ratio


def evidence_above(events: int, trials: int, bound: float) -> float:
    """The e-value against a rate of at most `bound`, at any number of trials.

    >>> evidence_above(1, 100, 0.02) < 1 < 1_000 < evidence_above(8, 10, 0.02)
    True
    """
    if not trials or bound >= 1.0:
        return 1.0
    rates = bound + (1.0 - bound) * (np.arange(_STEPS) + 0.5) / _STEPS
    logs = events * np.log(rates / bound) + (trials - events) * np.log((1.0 - rates) / (1.0 - bound))
    return _mean_exp(logs)


def upper_rate(events: int, trials: int, alpha: float) -> float:
    """The exact upper limit of a rate at confidence 1 - alpha (Clopper and Pearson), for one look.

    >>> round(upper_rate(0, 100, 0.05), 4)
    0.0295
    """
    if events >= trials:
        return 1.0
    counts = np.arange(events + 1)
    chosen, low, high = _log_choose(trials, counts), events / trials, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (0.0, 1.0):
            break
        logs = chosen + counts * math.log(middle) + (trials - counts) * math.log1p(-middle)
        low, high = (middle, high) if math.exp(_log_sum(logs)) > alpha else (low, middle)
    return high


def distance_at_least(ours: Mapping[int, int], theirs: Mapping[int, int], alpha: float) -> float:
    """A lower limit of the largest distance between two distribution functions, at any number of values.

    From counts by ordered bins. Each distribution is known within the band of Howard and Ramdas (2022, *Sequential
    estimation of quantiles*), which holds at all times at once.
    """
    count, other = sum(ours.values()), sum(theirs.values())
    if not count or not other:
        return 0.0
    bins = sorted({*ours, *theirs})
    shares = np.cumsum([ours.get(one, 0) for one in bins]) / count
    others = np.cumsum([theirs.get(one, 0) for one in bins]) / other
    found = float(np.abs(shares - others).max()) - _band(count, alpha / 2) - _band(other, alpha / 2)
    return max(0.0, found)


def _band(count: int, alpha: float) -> float:
    return 0.85 * math.sqrt((math.log(math.log(math.e * count) + 1e-12) + 0.8 * math.log(1612 / alpha)) / count)


def _log_choose(total: int, chosen: npt.NDArray[np.int64]) -> Floats:
    logs: Floats = _log_factorial(np.array([total])) - _log_factorial(chosen) - _log_factorial(total - chosen)
    return logs


def _log_factorial(counts: npt.NDArray[np.int64]) -> Floats:
    """log(n!) by Stirling's series above 15, which is right to 1e-12 there."""
    n = np.maximum(counts.astype(np.float64), 1.0)
    series = n * np.log(n) - n + 0.5 * np.log(2 * np.pi * n) + 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5)
    return np.where(counts > 15, series, _SMALL[np.minimum(counts, 15)])


_SMALL = np.array([math.lgamma(n + 1) for n in range(16)])


def _log_sum(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


def _mean_exp(logs: Floats) -> float:
    """The mean of what has these logarithms; 1e300 where it is larger."""
    return math.exp(min(_log_sum(logs) - math.log(len(logs)), 690.0))
