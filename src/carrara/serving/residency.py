"""Residency: which endpoints are in memory, where there are more than fit or than are asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carrara.serving.contract import Endpoint


@dataclass(frozen=True)
class Bounds:
    """What may be in memory: endpoints of `memory_bytes` in all, each asked within `idle_seconds`; None is no bound."""

    memory_bytes: int | None = None
    idle_seconds: float | None = None


NO_BOUNDS = Bounds()


def resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@dataclass
class Residency:
    """Chooses what stays in memory: what was asked last goes first. Not thread-safe, but for `touch`."""

    bounds: Bounds = field(default_factory=Bounds)
    measure: Callable[[], int] = resident_bytes
    clock: Callable[[], float] = time.monotonic
    _asked: dict[str, float] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)

    def touch(self, endpoint: str) -> None:
        """An endpoint is asked now."""
        self._asked[endpoint] = self.clock()

    def loaded(self, endpoint: str, count: int) -> None:
        """Loading a version took so many bytes; memory that was free before hides some, and the most counts."""
        self._bytes[endpoint] = max(count, self._bytes.get(endpoint, 0), 1)

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
            elif kept and not self._fits(used, one.name):
                cold[one.name] = f"there is memory for {self.bounds.memory_bytes:,} bytes of models"
            else:
                used += self._size(one.name)
                kept.append(one)
        return kept, cold

    def is_full(self, loaded: Sequence[str]) -> bool:
        """Whether what is loaded takes what there is."""
        return self.bounds.memory_bytes is not None and sum(map(self._size, loaded)) >= self.bounds.memory_bytes

    def _fits(self, used: int, endpoint: str) -> bool:
        return self.bounds.memory_bytes is None or used + self._size(endpoint) <= self.bounds.memory_bytes

    def _size(self, endpoint: str) -> int:
        """What an endpoint takes; one that was never loaded is as large as the others are on average."""
        if endpoint in self._bytes or not self._bytes:
            return self._bytes.get(endpoint, 0)
        return sum(self._bytes.values()) // len(self._bytes)
