"""What a server counts, for Prometheus: under TensorFlow Serving's names, so that its dashboards work, and our own."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = [10 * 1.8**power for power in range(33)]
"""Microseconds, as TensorFlow Serving's histograms have them."""

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


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    total: float = 0.0

    def add(self, value: float, times: int) -> None:
        self.counts[bisect_left(_BOUNDS, value)] += times
        self.total += value * times


@dataclass(frozen=True)
class Call:
    """A request that was answered: of which model, by which method and protocol, and how it ended."""

    model: str
    method: str
    protocol: str
    code: int = 0


class Metrics:
    """Counters and histograms of one server. Thread-safe; one lock for a whole batch of calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[Call, int] = {}
        self._latency: dict[tuple[str, str, str], _Histogram] = {}
        self._examples: dict[str, _Histogram] = {}

    def answered(self, calls: Mapping[Call, int], seconds: float) -> None:
        """Count calls that came in together and took so long."""
        with self._lock:
            for call, times in calls.items():
                self._requests[call] = self._requests.get(call, 0) + times
                key = (call.model, call.method, call.protocol)
                self._latency.setdefault(key, _Histogram()).add(seconds * 1e6, times)

    def predicted(self, model: str, rows: int, times: int = 1) -> None:
        """Count so many requests of so many rows."""
        with self._lock:
            self._examples.setdefault(model, _Histogram()).add(rows, times)

    def exposition(self) -> str:
        """All of them in Prometheus' text format."""
        with self._lock:
            return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        counts: dict[Labels, int] = {}
        for call, times in self._requests.items():
            labels = (("model_name", call.model), ("status", CODES[call.code]))
            counts[labels] = counts.get(labels, 0) + times
        yield from _counter(":tensorflow:serving:request_count", counts)
        latency: dict[Labels, _Histogram] = {
            (("model_name", model), ("API", method), ("entrypoint", protocol)): histogram
            for (model, method, protocol), histogram in self._latency.items()
        }
        yield from _histogram(":tensorflow:serving:request_latency", latency)
        examples: dict[Labels, _Histogram] = {
            (("model", model),): histogram for model, histogram in self._examples.items()
        }
        yield from _histogram(":tensorflow:serving:request_example_counts", examples)
        totals: dict[Labels, int] = {labels: int(histogram.total) for labels, histogram in examples.items()}
        yield from _counter(":tensorflow:serving:request_example_count_total", totals)
        yield from self._own()

    def _own(self) -> Iterator[str]:
        requests: dict[Labels, int] = {
            (
                ("model", call.model),
                ("method", call.method),
                ("protocol", call.protocol),
                ("code", CODES[call.code]),
            ): times
            for call, times in self._requests.items()
        }
        yield from _counter("carrara_serving_requests_total", requests)
        seconds: dict[Labels, _Histogram] = {
            (("model", model), ("method", method), ("protocol", protocol)): histogram
            for (model, method, protocol), histogram in self._latency.items()
        }
        yield from _histogram("carrara_serving_request_duration_seconds", seconds, unit=1e6)


def _counter(name: str, values: Mapping[Labels, int]) -> Iterator[str]:
    yield f"# TYPE {name} counter"
    for labels, value in values.items():
        yield f"{name}{_written(labels)} {value}"


def _histogram(name: str, values: Mapping[Labels, _Histogram], unit: float = 1.0) -> Iterator[str]:
    yield f"# TYPE {name} histogram"
    for labels, histogram in values.items():
        below = 0
        for bound, count in zip([*_BOUNDS, float("inf")], histogram.counts, strict=True):
            below += count
            edge = "+Inf" if bound == float("inf") else f"{bound / unit:g}"
            yield f"{name}_bucket{_written((*labels, ('le', edge)))} {below}"
        yield f"{name}_sum{_written(labels)} {histogram.total / unit:g}"
        yield f"{name}_count{_written(labels)} {below}"


def _written(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
