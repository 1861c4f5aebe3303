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
    """What may be in memory: endpoints of `memory_bytes` in all, each asked within `idle_seconds`; None is no bound."""

    memory_bytes: int | None = None
    idle_seconds: float | None = None


NO_BOUNDS = Bounds()

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
    """Chooses what stays in memory: what was asked last goes first. Not thread-safe, but for `touch` and `weighed`."""

    bounds: Bounds = field(default_factory=Bounds)
    measure: Callable[[], int] = resident_bytes
    clock: Callable[[], float] = time.monotonic
    _asked: dict[str, float] = field(default_factory=dict)
    _bytes: dict[Target, int] = field(default_factory=dict)

    def touch(self, endpoint: str) -> None:
        """An endpoint is asked now."""
        self._asked[endpoint] = self.clock()

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

    def choose(self, endpoints: Sequence[Endpoint]) -> tuple[list[Endpoint], dict[str, str]]:
        """The endpoints that may be in memory, what was asked last first, and why each of the others may not."""
        if self.bounds == NO_BOUNDS:
            return list(endpoints), {}
        now, used = self.clock(), 0
        kept: list[Endpoint] = []
        cold: dict[str, str] = {}
        for one in endpoints:
            self._asked.setdefault(one.name, now)
        for one in sorted(endpoints, key=lambda one: -self._asked[one.name]):
            quiet = now - self._asked[one.name]
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
