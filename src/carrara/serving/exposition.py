"""What a server counted, as Prometheus reads it: under TensorFlow Serving's names, so that its dashboards work, and our
own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from carrara.serving.counts import BOUNDS, Counts, Histogram

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


def exposition(counts: Counts) -> str:
    """All of them in Prometheus' text format."""
    return "\n".join([*_lines(counts), ""])


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
    yield from _loading(counts)
    logged: dict[Labels, int] = {
        (("model_name", model), ("status_code", code)): n for (model, code), n in counts.logged.items()
    }
    yield from _counter(":tensorflow:serving:request_log_count", logged)
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


def _loading(counts: Counts) -> Iterator[str]:
    """How versions were warmed up, and what lineage calls them, which TensorFlow Serving leaves out of its text."""
    warm_ups: dict[Labels, Histogram] = {
        (("model_path", path), ("status", status)): one for (path, status), one in counts.warm_ups.items()
    }
    yield from _histogram(":tensorflow:serving:model_warmup_latency", warm_ups)
    records: dict[Labels, int] = {(("model_path", path),): count for path, count in counts.warm_up_records.items()}
    yield from _counter(":tensorflow:serving:model_warmup_records_read", records)
    yield "# TYPE :tensorflow:serving:mlmd_map gauge"
    for model, version, identifier in counts.lineage:
        labels = (("model_name", model), ("version", version), ("mlmd_uuid", identifier))
        yield f":tensorflow:serving:mlmd_map{_written(labels)} 1"


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
