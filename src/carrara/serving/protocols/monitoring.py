"""Where Prometheus reads what a server counts."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from carrara.serving.metrics import CONTENT_TYPE, Metrics
from carrara.serving.protocols.http import HttpRequest, Reply, Route
from carrara.serving.protocols.problem import problem

TENSORFLOW_PATH = "/monitoring/prometheus/metrics"


def routes(metrics: Metrics, path: str = "") -> list[Route]:
    """/metrics with everything that the process counts, and the same where TensorFlow Serving has it, or at `path`."""

    def answer(request: HttpRequest, found: re.Match[str]) -> Reply:
        text = metrics.exposition().encode() + generate_latest()
        return Reply(200, text, CONTENT_TYPE)

    paths = dict.fromkeys(("/metrics", TENSORFLOW_PATH, path or TENSORFLOW_PATH))
    return [Route("GET", re.compile(re.escape(one)), answer, problem) for one in paths]
