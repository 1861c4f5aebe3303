"""How much each process of a fit works: where all wait for one another, the slow one is the one that works most."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 5.0
"""How often it is told."""


class Profile:
    """Takes the seconds of a processor that processes have used, and says them as lines of a run's log.

    >>> moments = iter([0.0, 1.0, 8.0])
    >>> profile = Profile(lambda: next(moments))
    >>> profile.used("worker:0", 1.0), profile.used("worker:1", 4.5)
    (None, None)
    >>> profile.since(1)  # too early
    >>> profile.since(2)
    '[profile] until round 2, seconds of a processor: worker:0 1.0, worker:1 4.5'
    >>> profile.used("worker:1", 6.0)
    >>> profile.whole()
    '[profile] in all, seconds of a processor: worker:0 1.0, worker:1 6.0'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._told = clock, clock()
        self._used: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def used(self, process: str, seconds: float) -> None:
        """What a process has used since it was started."""
        self._used[process] = seconds

    def since(self, number: int) -> str | None:
        """What was used since it was last told, until the round of this number; None where that is not long ago."""
        if (now := self._clock()) - self._told < _SECONDS:
            return None
        # One that was started again counts from 0.
        spent = {name: used - min(self._before.get(name, 0.0), used) for name, used in self._used.items()}
        self._told, self._before = now, dict(self._used)
        return _line(f"until round {number}", spent)

    def whole(self) -> str:
        return _line("in all", self._used)


def _line(when: str, seconds: dict[str, float]) -> str:
    told = ", ".join(f"{name} {spent:.1f}" for name, spent in sorted(seconds.items()))
    return f"[profile] {when}, seconds of a processor: {told}"
