"""What a server counts, alone or with the other processes of its ports."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carrara.serving.counts import Call, Counts, Histogram
from carrara.serving.exposition import exposition

_PUBLISH_SECONDS = 0.5


class Metrics:
    """Counters and histograms of a server. Thread-safe; one lock for a whole batch of calls.

    Processes that share a `folder` tell the sum of all of them, and of those that have ended: each writes what it has
    counted into a file of its own there. Only what is written is told, so that no sum is ever less than one before.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._lock, self._publishing = threading.Lock(), threading.Lock()
        self._counts = Counts()
        # An id of a process comes again: a file that was of another would begin anew.
        self._name = f"serving-{os.getpid()}-{time.time_ns()}"
        self._published = b""
        self._stop = threading.Event()
        if folder is not None:
            threading.Thread(target=self._publish_again, name="metrics", daemon=True).start()

    def answered(self, calls: Mapping[Call, int], seconds: float) -> None:
        """Count calls that came in together and took so long."""
        with self._lock:
            requests, latency = self._counts.requests, self._counts.latency
            for call, times in calls.items():
                requests[call] = requests.get(call, 0) + times
                _histogram(latency, (call.model, call.method, call.protocol)).add(seconds * 1e6, times)

    def predicted(self, model: str, rows: int, times: int = 1) -> None:
        """Count so many requests of so many rows."""
        with self._lock:
            _histogram(self._counts.examples, model).add(rows, times)

    def ran(self, model: str, method: str, rows: int, seconds: float, calls: int, padding: int = 0) -> None:
        """Count a run of a model, which so many calls shared, and the rows that it was made up with."""
        with self._lock:
            if padding:
                _histogram(self._counts.padding, model).add(padding, 1)
            _histogram(self._counts.batches, model).add(rows, 1)
            _histogram(self._counts.runtime, (model, method)).add(seconds * 1e6, calls)

    def warmed_up(self, path: str, status: str, records: int, seconds: float) -> None:
        """Count that a version was warmed up, or failed at it, and the recorded requests that were run for that."""
        with self._lock:
            _histogram(self._counts.warm_ups, (path, status)).add(seconds * 1e6, 1)
            self._counts.warm_up_records[path] = self._counts.warm_up_records.get(path, 0) + records

    def loaded(self, endpoint: str, version: int, identifier: str) -> None:
        """Keep what a version that an endpoint serves is called by its lineage."""
        with self._lock:
            self._counts.lineage[endpoint, str(version), identifier] = 1

    def logged(self, model: str, status: str, count: int) -> None:
        """Count records of a model's request log that were written, or were not."""
        with self._lock:
            self._counts.logged[model, status] = self._counts.logged.get((model, status), 0) + count

    def exposition(self) -> str:
        """All of them in Prometheus' text format."""
        if self.folder is None:
            with self._lock:
                return exposition(self._counts)
        return exposition(self._of_all(self.folder))

    def close(self) -> None:
        """Leave what was counted to those who go on."""
        self._stop.set()
        if self.folder is not None:
            self._publish(self.folder)

    def _of_all(self, folder: Path) -> Counts:
        self._publish(folder)
        total = Counts()
        for path in folder.glob("serving-*.counts"):
            total.add(Counts.decoded(path.read_bytes()))
        return total

    def _publish_again(self) -> None:
        assert self.folder is not None
        while not self._stop.wait(_PUBLISH_SECONDS):
            self._publish(self.folder)

    def _publish(self, folder: Path) -> None:
        with self._publishing:
            with self._lock:
                data = self._counts.encoded()
            if data != self._published:
                made = folder / f"{self._name}.made"
                made.write_bytes(data)
                made.replace(folder / f"{self._name}.counts")
                self._published = data


def _histogram(histograms: dict[Any, Histogram], key: Any) -> Histogram:
    """The histogram of a key; one is made only where there is none yet, since each is a list of three dozen counts."""
    found = histograms.get(key)
    if found is None:
        found = histograms[key] = Histogram()
    return found
