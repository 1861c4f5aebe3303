"""A recording of what runs spend their time on, for a few seconds and on demand, as trace viewers open it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from carrara.core.stages import Stage

_MOST_RUNS = 20_000
"""The last ones are kept."""


class Recording:
    """Runs with their stages, from `start` until `stop`. Thread-safe."""

    def __init__(self) -> None:
        self._runs: deque[tuple[int, Stage]] = deque(maxlen=_MOST_RUNS)
        self.on = False

    def start(self) -> None:
        """Record from now on; what was recorded before is forgotten."""
        self._runs.clear()
        self.on = True

    def add(self, run: Stage) -> None:
        """Take a run that has ended in this thread."""
        if self.on:
            self._runs.append((threading.get_native_id(), run))

    def stop(self) -> dict[str, Any]:
        """Record no more, and give what was recorded in Chrome's trace event format."""
        self.on = False
        events = [event for thread, run in list(self._runs) for event in _events(run, thread)]
        self._runs.clear()
        return {"displayTimeUnit": "ms", "traceEvents": events}


def _events(stage: Stage, thread: int) -> Iterator[dict[str, Any]]:
    error = {"error": stage.error} if stage.error else {}
    yield {
        "name": stage.name,
        "ph": "X",
        "ts": stage.began / 1e3,
        "dur": (stage.ended - stage.began) / 1e3,
        "pid": os.getpid(),
        "tid": thread,
        "args": {**stage.about, **error},
    }
    for part in stage.parts:
        yield from _events(part, thread)
