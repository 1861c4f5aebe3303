"""The backlog of a port: calls that wait for their turn, bounded by number, bytes and age."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection

from carrara.serving.transports.base import LONGEST_WAIT_SECONDS, MOST_WAITING, MOST_WAITING_BYTES

Call = tuple[int, int, bytes]
"""A call's id, the number of its method, and its message."""


class Backlog:
    """Calls in the order in which they came. It belongs to one thread."""

    def __init__(
        self,
        most: int = MOST_WAITING,
        most_bytes: int = MOST_WAITING_BYTES,
        longest_seconds: float = LONGEST_WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._most_bytes, self._longest, self._clock = most, most_bytes, longest_seconds, clock
        self._calls: deque[tuple[float, Call]] = deque()
        self._bytes = 0

    @property
    def waiting(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> bool:
        """Let a call wait; False where too many do, or too much."""
        if len(self._calls) >= self._most or (self._calls and self._bytes + len(call[2]) > self._most_bytes):
            return False
        self._calls.append((self._clock(), call))
        self._bytes += len(call[2])
        return True

    def take(self, count: int) -> tuple[list[Call], list[Call]]:
        """The next calls to answer, at most `count`, and those that have waited too long to be answered."""
        taken: list[Call] = []
        late: list[Call] = []
        oldest = self._clock() - self._longest
        while self._calls and len(taken) < count:
            came, call = self._calls.popleft()
            self._bytes -= len(call[2])
            (late if came < oldest else taken).append(call)
        return taken, late

    def forget(self, gone: Collection[int]) -> None:
        """Drop calls whose clients are no longer there."""
        kept = [one for one in self._calls if one[1][0] not in gone]
        self._calls = deque(kept)
        self._bytes = sum(len(call[2]) for _, call in kept)
