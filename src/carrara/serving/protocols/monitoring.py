"""Where Prometheus reads what a server counts."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from carrara.serving.exposition import CONTENT_TYPE
from carrara.serving.metrics import Metrics
from carrara.serving.protocols.http import HttpRequest, Reply, Route
from carrara.serving.protocols.problem import problem

TENSORFLOW_PATH = "/monitoring/prometheus/metrics"


def routes(metrics: Metrics, path: str = "") -> list[Route]:
    """/metrics with everything that all processes of a server count, and the same where TensorFlow Serving has it, or
    at `path`."""

    def answer(request: HttpRequest, found: re.Match[str]) -> Reply:
        return Reply(200, metrics.exposition().encode() + _of_rooms(metrics.folder), CONTENT_TYPE)

    paths = dict.fromkeys(("/metrics", TENSORFLOW_PATH, path or TENSORFLOW_PATH))
    return [Route("GET", re.compile(re.escape(one)), answer, problem) for one in paths]


def _of_rooms(folder: Path | None) -> bytes:
    """What other rooms count (see `core.metrics`), by this process or by all that share a folder."""
    if folder is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)
