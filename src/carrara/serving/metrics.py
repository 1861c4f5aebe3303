"""What a server counts, for Prometheus: under TensorFlow Serving's names, so that its dashboards work, and our own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from carrara.serving.counts import BOUNDS, Call, Counts, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

CODES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]

Labels = tuple[tuple[str, str], ...]

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
                key = (call.model, call.method, call.protocol)
                latency.setdefault(key, Histogram()).add(seconds * 1e6, times)

    def predicted(self, model: str, rows: int, times: int = 1) -> None:
        """Count so many requests of so many rows."""
        with self._lock:
            self._counts.examples.setdefault(model, Histogram()).add(rows, times)

    def ran(self, model: str, method: str, rows: int, seconds: float, calls: int, padding: int = 0) -> None:
        """Count a run of a model, which so many calls shared, and the rows that it was made up with."""
        with self._lock:
            if padding:
                self._counts.padding.setdefault(model, Histogram()).add(padding, 1)
            self._counts.batches.setdefault(model, Histogram()).add(rows, 1)
            self._counts.runtime.setdefault((model, method), Histogram()).add(seconds * 1e6, calls)

    def exposition(self) -> str:
        """All of them in Prometheus' text format."""
        if self.folder is None:
            with self._lock:
                return "\n".join([*_lines(self._counts), ""])
        return "\n".join([*_lines(self._of_all(self.folder)), ""])

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


def _lines(counts: Counts) -> Iterator[str]:
    requests: dict[Labels, int] = {}
    for call, times in counts.requests.items():
        labels = (("model_name", call.model), ("status", CODES[call.code]))
        requests[labels] = requests.get(labels, 0) + times
    yield from _counter(":tensorflow:serving:request_count", requests)
    latency: dict[Labels, Histogram] = {
        (("model_name", model), ("API", method), ("entrypoint", protocol)): histogram
        for (model, method, protocol), histogram in counts.latency.items()
    }
    yield from _histogram(":tensorflow:serving:request_latency", latency)
    runtime: dict[Labels, Histogram] = {
        (("model_name", model), ("API", method), ("runtime", "carrara")): histogram
        for (model, method), histogram in counts.runtime.items()
    }
    yield from _histogram(":tensorflow:serving:runtime_latency", runtime)
    examples = _by("model", counts.examples)
    yield from _histogram(":tensorflow:serving:request_example_counts", examples)
    totals = {labels: int(histogram.total) for labels, histogram in examples.items()}
    yield from _counter(":tensorflow:serving:request_example_count_total", totals)
    yield from _batching(counts)
    yield from _own(counts)


def _batching(counts: Counts) -> Iterator[str]:
    """What TensorFlow Serving tells of its batching session: rows of requests and of runs, and the runs."""
    session = ":tensorflow:serving:batching_session"
    batches = _by("model_name", counts.batches)
    yield from _histogram(f"{session}:input_batch_size", _by("model_name", counts.examples))
    yield from _histogram(f"{session}:processed_batch_size", batches)
    yield from _histogram(f"{session}:padding_size", _by("model_name", counts.padding))
    runs = {labels: sum(histogram.counts) for labels, histogram in batches.items()}
    yield from _counter(f"{session}:wrapped_run_count", runs)


def _own(counts: Counts) -> Iterator[str]:
    requests: dict[Labels, int] = {
        (("model", call.model), ("method", call.method), ("protocol", call.protocol), ("code", CODES[call.code])): times
        for call, times in counts.requests.items()
    }
    yield from _counter("carrara_serving_requests_total", requests)
    seconds: dict[Labels, Histogram] = {
        (("model", model), ("method", method), ("protocol", protocol)): histogram
        for (model, method, protocol), histogram in counts.latency.items()
    }
    yield from _histogram("carrara_serving_request_duration_seconds", seconds, unit=1e6)
    yield from _histogram("carrara_serving_run_rows", _by("model", counts.batches))


def _by(label: str, histograms: Mapping[str, Histogram]) -> dict[Labels, Histogram]:
    return {((label, name),): histogram for name, histogram in histograms.items()}


def _counter(name: str, values: Mapping[Labels, int]) -> Iterator[str]:
    yield f"# TYPE {name} counter"
    for labels, value in values.items():
        yield f"{name}{_written(labels)} {value}"


def _histogram(name: str, values: Mapping[Labels, Histogram], unit: float = 1.0) -> Iterator[str]:
    yield f"# TYPE {name} histogram"
    for labels, histogram in values.items():
        below = 0
        for bound, count in zip([*BOUNDS, float("inf")], histogram.counts, strict=True):
            below += count
            edge = "+Inf" if bound == float("inf") else f"{bound / unit:g}"
            yield f"{name}_bucket{_written((*labels, ('le', edge)))} {below}"
        yield f"{name}_sum{_written(labels)} {histogram.total / unit!r}"
        yield f"{name}_count{_written(labels)} {below}"


def _written(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
