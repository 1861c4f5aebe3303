"""How much each process of a fit works: where all wait for one another, the slow one is the one that works most."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

_SECONDS = 5.0
"""How often it is told."""


class Profile:
    """Takes the seconds of a processor that processes have used.

    >>> moments = iter([0.0, 1.0, 8.0])
    >>> profile = Profile(lambda: next(moments))
    >>> profile.used("worker:0", 1.0), profile.used("worker:1", 4.5)
    (None, None)
    >>> profile.since()  # too early
    {}
    >>> profile.since()
    {'worker:0': 1.0, 'worker:1': 4.5}
    >>> profile.used("worker:1", 6.0)
    >>> profile.whole()
    {'worker:0': 1.0, 'worker:1': 6.0}
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._told = clock, clock()
        self._used: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def used(self, process: str, seconds: float) -> None:
        """What a process has used since it was started."""
        self._used[process] = seconds

    def since(self, seconds: float = _SECONDS) -> dict[str, float]:
        """What was used since it was last told; nothing where that is not so long ago."""
        if (now := self._clock()) - self._told < seconds:
            return {}
        # One that was started again counts from 0.
        spent = {name: used - min(self._before.get(name, 0.0), used) for name, used in self._used.items()}
        self._told, self._before = now, dict(self._used)
        return spent

    def whole(self) -> Mapping[str, float]:
        return self._used


def line(when: str, seconds: Mapping[str, float]) -> str:
    """Of a run's log.

    >>> line("until round 2", {"worker:0": 1.0, "worker:1": 4.5})
    '[profile] until round 2, seconds of a processor: worker:0 1.0, worker:1 4.5'
    """
    told = ", ".join(f"{name} {spent:.1f}" for name, spent in sorted(seconds.items()))
    return f"[profile] {when}, seconds of a processor: {told}"
