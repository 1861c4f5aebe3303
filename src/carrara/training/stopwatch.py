"""How long the steps of a fit take, and what of it a process waits: for its rows, or for the other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Takes the time of steps, until it is asked for it.

    >>> watch = Stopwatch(iter([0.0, 0.0, 0.125, 0.25, 0.5, 1.0, 1.0, 1.0]).__next__)
    >>> with watch.running():
    ...     for row in watch.fed(["a row"]):
    ...         with watch.waiting():
    ...             pass
    >>> watch.taken()
    {'step_ms': 1000.0, 'input_ms': 125.0, 'wait_ms': 250.0}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._clear()

    def _clear(self) -> None:
        self._steps, self._seconds, self._input = 0, 0.0, 0.0
        self._waited: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Steps are taken."""
        begun = self._clock()
        yield
        self._seconds += self._clock() - begun

    def fed(self, given: Iterable[T]) -> Iterator[T]:
        """What each step is taken with: until it is there one waits for it."""
        asked = self._clock()
        for one in given:
            self._input += self._clock() - asked
            self._steps += 1
            yield one
            asked = self._clock()
        self._input += self._clock() - asked

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The other processes are waited for."""
        begun = self._clock()
        yield
        self._waited = (self._waited or 0.0) + self._clock() - begun

    def taken(self) -> dict[str, float]:
        """Milliseconds a step, since one has asked; `wait_ms` where one could see that the others are waited for."""
        if not self._steps:
            return {}
        found = {"step_ms": self._seconds, "input_ms": self._input}
        if self._waited is not None:
            found["wait_ms"] = self._waited
        each = 1_000 / self._steps
        self._clear()
        return {name: seconds * each for name, seconds in found.items()}
