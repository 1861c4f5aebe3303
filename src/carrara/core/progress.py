"""Progress of long work, told to whoever watches: a terminal, a log, or nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Step:
    """One step of the work while it runs; `said` is the line that tells what came out."""

    name: str
    said: str = ""
    reused: bool = False
    seconds: float = 0.0
    told: list[str] = field(default_factory=list)
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Tell at once what happened in the middle of it."""
        self.told.append(text)
        self.log(text)

    def log(self, text: str) -> None:
        """Write something down, that nobody need be told."""
        for listener in self.listeners:
            listener(text)

    def advance(self, done: int, total: int | None) -> None:
        """Tell how far the step is; a watcher may draw it."""


@dataclass
class Progress:
    """Runs steps and keeps them; the command line draws them by overriding the three methods below."""

    steps: list[Step] = field(default_factory=list)
    watchers: list[Callable[[Step], None]] = field(default_factory=list)
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a block as a step of this name."""
        step = self.begin(name)
        step.listeners = self.listeners
        started = time.perf_counter()
        try:
            yield step
        except BaseException:
            self.failed(step)
            raise
        step.seconds = time.perf_counter() - started
        self.steps.append(step)
        self.ended(step)
        for watcher in self.watchers:
            watcher(step)

    def begin(self, name: str) -> Step:
        return Step(name)

    def ended(self, step: Step) -> None:
        """Called with a step that is complete."""

    def failed(self, step: Step) -> None:
        """Called with a step that raised."""
