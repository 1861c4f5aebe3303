"""What is judged of a version that is being tried: errors, values that are no numbers, latency, and its scores.

A canary is held against the primary beside it, stretch of time by stretch of time. A new primary is held against what
was seen of the one before. Each of the four looks errs with a probability of at most 1 %, however often it is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from carrara.evaluation.sequential import RateTest, Stratum, distance_at_least, evidence_above, upper_rate
from carrara.serving.observed import Seen, quantile, upper_edge

Counted = Callable[[Seen], int]

ALPHA = 0.01
ENOUGH = 1 / ALPHA
"""The e-value at which a version is stopped."""

SLOW = 0.95
_SLOW_ODDS = 2.0
_SLOWER = 4.0
_FEWEST_RUNS = 50
_FARTHEST_SCORES = 0.25
_MORE_ERRORS = 0.01
_ERRORS_OF_ANY = 0.05


class Trial:
    """A canary beside its primary: what was seen of both so far, and what speaks against the canary."""

    def __init__(self, candidate: str, primary: str) -> None:
        self._names = candidate, primary
        self.seen, self.beside = Seen(), Seen()
        self._errors, self._not_finite, self._slow = RateTest(), RateTest(), RateTest(_SLOW_ODDS)

    def add(self, candidate: Seen, primary: Seen) -> None:
        """Take what both did in one more stretch of time."""
        self._errors.add(_stratum(candidate, primary, lambda s: s.failed + s.refused, lambda s: s.requests))
        self._not_finite.add(_stratum(candidate, primary, lambda s: s.not_finite, lambda s: s.answered))
        # What is slow is decided before the stretch is seen: otherwise the test would choose its own question.
        limit = _limit(self.beside.latency)
        if limit is not None:
            self._slow.add(
                _stratum(candidate, primary, lambda s: _above(s.latency, limit), lambda s: s.latency.total())
            )
        self.seen.add(candidate)
        self.beside.add(primary)

    def against(self) -> list[str]:
        """The reasons to stop the canary; none as long as nothing is proven."""
        found = []
        if self._errors.evidence >= ENOUGH:
            found.append(f"errors: {self._rates(self._errors)} (e-value {self._errors.evidence:.3g})")
        if self._not_finite.evidence >= ENOUGH:
            found.append(f"not a number: {self._rates(self._not_finite)} (e-value {self._not_finite.evidence:.3g})")
        if self._slow.evidence >= ENOUGH:
            found.append(f"latency: {_latencies(self.seen, self.beside, self._names)}")
        apart = distance_at_least(self.seen.scores, self.beside.scores, ALPHA)
        if apart > _FARTHEST_SCORES:
            found.append(f"scores: their distributions are at least {apart:.2f} apart")
        return found

    def told(self) -> list[str]:
        """What was seen, for the record of a canary that nothing speaks against."""
        return [
            f"errors: {self._rates(self._errors)}",
            f"latency: {_latencies(self.seen, self.beside, self._names)}",
            f"scores: {self.seen.scores.total():,} held against {self.beside.scores.total():,}",
        ]

    def _rates(self, test: RateTest) -> str:
        ours, theirs = self._names
        first = f"{test.events:,} of {test.trials:,} requests of {ours}"
        return f"{first}, {test.baseline_events:,} of {test.baseline_trials:,} of {theirs} beside it"


def against_primary(seen: Seen, before: Seen, names: tuple[str, str]) -> list[str]:
    """The reasons to go back from a new primary to the one before, of which `before` was seen; `names` are theirs."""
    found = []
    failed, known = _error_bound(before, names[1])
    if evidence_above(seen.failed, seen.answered + seen.failed, failed) >= ENOUGH:
        found.append(f"errors: {seen.failed:,} of {seen.answered + seen.failed:,} requests failed; {known}")
    bound = upper_rate(before.not_finite, before.answered, ALPHA) + _MORE_ERRORS if before.answered else _ERRORS_OF_ANY
    if evidence_above(seen.not_finite, seen.answered, bound) >= ENOUGH:
        found.append(f"not a number: {seen.not_finite:,} of {seen.answered:,} answers")
    limit = quantile(before.latency, 0.5) if before.latency.total() >= _FEWEST_RUNS else None
    if limit is not None:
        # Another hour has another load, which moves the tail of a latency far and its middle little.
        slow, runs = _above(seen.latency, _SLOWER * limit), seen.latency.total()
        if evidence_above(slow, runs, 0.5) >= ENOUGH:
            found.append(f"latency: {_latencies(seen, before, names, 0.5)}")
    apart = distance_at_least(seen.scores, before.scores, ALPHA)
    if apart > _FARTHEST_SCORES:
        found.append(f"scores: their distribution is at least {apart:.2f} from that of {names[1]}")
    return found


def _error_bound(before: Seen, name: str) -> tuple[float, str]:
    trials = before.answered + before.failed
    if not trials:
        return _ERRORS_OF_ANY, f"{_ERRORS_OF_ANY:.0%} are allowed where nothing was seen before"
    bound = upper_rate(before.failed, trials, ALPHA) + _MORE_ERRORS
    return bound, f"of {name}, {before.failed:,} of {trials:,} did"


def _stratum(candidate: Seen, primary: Seen, events: Counted, trials: Counted) -> Stratum:
    return Stratum(events(candidate), trials(candidate), events(primary), trials(primary))


def _limit(latency: Counter[int]) -> float | None:
    return quantile(latency, SLOW) if latency.total() >= _FEWEST_RUNS else None


def _above(latency: Mapping[int, int], limit: float) -> int:
    """How many runs took longer than `limit`, by the bins that lie above it."""
    return sum(count for place, count in latency.items() if upper_edge(place) > limit)


def _latencies(seen: Seen, other: Seen, names: tuple[str, str], share: float = SLOW) -> str:
    return ", ".join(
        f"{_milliseconds(quantile(one.latency, share))} at p{share * 100:.0f} of {name}"
        for one, name in zip((seen, other), names, strict=True)
    )


def _milliseconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1e3:.3g} ms"
