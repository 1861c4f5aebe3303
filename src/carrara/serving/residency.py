"""Residency: which endpoints are in memory, where there are more than fit or than are asked for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from carrara.serving.contract import Endpoint, Target


@dataclass(frozen=True)
class Bounds:
    """What may be in memory: endpoints of `memory_bytes` in all, each asked within `idle_seconds`; None is no bound.

    What was not asked for `retire_seconds` is put away: it is not loaded when it is asked.
    """

    memory_bytes: int | None = None
    idle_seconds: float | None = None
    retire_seconds: float | None = None


NO_BOUNDS = Bounds()


@dataclass(frozen=True)
class Chosen:
    """The endpoints that may be in memory, what was asked last first; why each of the others is not that is loaded when
    it is asked; and what is to be told: that an endpoint is `idle`, before anything happens to it, or was `retired`."""

    kept: list[Endpoint]
    cold: dict[str, str] = field(default_factory=dict)
    told: list[tuple[Endpoint, str, str]] = field(default_factory=list)


_OF_FILES = 1.2
"""A version takes about so much more memory than its files have bytes: TensorFlow Serving's own estimate."""


def resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@dataclass
class Residency:
    """Chooses what stays in memory: what was asked longest ago goes first. One thread chooses; any may do the rest."""

    bounds: Bounds = field(default_factory=Bounds)
    measure: Callable[[], int] = resident_bytes
    clock: Callable[[], float] = time.monotonic
    _asked: dict[str, float] = field(default_factory=dict)
    _bytes: dict[Target, int] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)
    _away: dict[str, tuple[Target, ...]] = field(default_factory=dict)

    def touch(self, endpoint: str) -> None:
        """An endpoint is asked now; of one that it has never chosen from it keeps nothing."""
        if endpoint in self._asked:
            self._asked[endpoint] = self.clock()
            self._warned.discard(endpoint)

    def put_away(self, endpoint: Endpoint) -> None:
        """Keep an endpoint out of memory, also where it is asked, until it is brought back or has other versions."""
        self._away[endpoint.name] = endpoint.targets

    def bring_back(self, endpoint: str) -> None:
        self._away.pop(endpoint, None)
        self.touch(endpoint)

    def is_away(self, endpoint: str) -> bool:
        return endpoint in self._away

    @contextmanager
    def weighed(self, target: Target, files: Callable[[], int]) -> Iterator[None]:
        """Keep what a version takes that is loaded in the block; `files` gives the bytes of its files then.

        Memory that was free before hides some of it, so that the most counts; and what a library takes that is
        imported for it is not the version's own.
        """
        before, modules = self.measure(), len(sys.modules)
        yield
        grown = self.measure() - before if len(sys.modules) == modules else 0
        counted = max(grown, int(_OF_FILES * files()), 1)
        self._bytes[target] = max(counted, self._bytes.get(target, 0))

    def choose(self, endpoints: Sequence[Endpoint]) -> Chosen:
        """What of all endpoints may be in memory now."""
        named = {one.name: one for one in endpoints}
        for name, targets in list(self._away.items()):
            if name not in named or named[name].targets != targets:
                self.bring_back(name)
        if self.bounds == NO_BOUNDS:
            return Chosen([one for one in endpoints if one.name not in self._away])
        now = self.clock()
        for one in endpoints:
            self._asked.setdefault(one.name, now)
        told = list(self._overdue(one for one in endpoints if one.name not in self._away))
        left = (one for one in endpoints if one.name not in self._away)
        kept, cold = self._fitting(sorted(left, key=lambda one: -self._asked[one.name]))
        return Chosen(kept, cold, told)

    def _overdue(self, endpoints: Iterable[Endpoint]) -> Iterator[tuple[Endpoint, str, str]]:
        """Put away what has to be, and tell of that, and once of what is half way to its end."""
        ends = {"unloaded": self.bounds.idle_seconds, "retired": self.bounds.retire_seconds}
        first = min(((after, what) for what, after in ends.items() if after is not None), default=None)
        for one in endpoints if first is not None else ():
            quiet = self.clock() - self._asked[one.name]
            if self.bounds.retire_seconds is not None and quiet >= self.bounds.retire_seconds:
                self.put_away(one)
                yield one, "retired", f"nobody asked for {quiet:,.0f} s"
            elif first is not None and first[0] / 2 <= quiet < first[0] and one.name not in self._warned:
                self._warned.add(one.name)
                yield one, "idle", f"nobody asked for {quiet:,.0f} s; it is {first[1]} after {first[0]:,.0f} s"

    def _fitting(self, endpoints: Sequence[Endpoint]) -> tuple[list[Endpoint], dict[str, str]]:
        """What is asked and fits, of endpoints in the order in which they may stay, and why the others do not."""
        kept: list[Endpoint] = []
        cold: dict[str, str] = {}
        used = 0
        for one in endpoints:
            quiet = self.clock() - self._asked[one.name]
            if self.bounds.idle_seconds is not None and quiet >= self.bounds.idle_seconds:
                cold[one.name] = f"nobody asked for {quiet:,.0f} s"
            elif kept and not self._fits(used + self._size(one)):
                cold[one.name] = f"there is memory for {self.bounds.memory_bytes:,} bytes of models"
            else:
                used += self._size(one)
                kept.append(one)
        return kept, cold

    def is_full(self, loaded: Iterable[Endpoint]) -> bool:
        """Whether what is loaded takes what there is."""
        return self.bounds.memory_bytes is not None and sum(map(self._size, loaded)) >= self.bounds.memory_bytes

    def _fits(self, count: int) -> bool:
        return self.bounds.memory_bytes is None or count <= self.bounds.memory_bytes

    def _size(self, endpoint: Endpoint) -> int:
        """What the versions of an endpoint take; one that was never loaded is as large as the others are on average."""
        usual = sum(self._bytes.values()) // len(self._bytes) if self._bytes else 0
        return sum(self._bytes.get(target, usual) for target in endpoint.targets)
