"""A recording of runs over HTTP: `POST /v1/trace:start`, and `:stop`, which answers it."""

from __future__ import annotations

import re

from carrara.serving.management import NO_MANAGEMENT, Management
from carrara.serving.protocols.http import HttpRequest, Reply, Route, json_reply
from carrara.serving.protocols.problem import problem
from carrara.serving.recording import Recording


def routes(recording: Recording, management: Management = NO_MANAGEMENT) -> list[Route]:
    def start(request: HttpRequest, found: re.Match[str]) -> Reply:
        management.require_alone(request.headers)
        recording.start()
        return json_reply({})

    def stop(request: HttpRequest, found: re.Match[str]) -> Reply:
        management.require_alone(request.headers)
        return json_reply(recording.stop())

    return [
        Route("POST", re.compile("/v1/trace:start"), start, problem),
        Route("POST", re.compile("/v1/trace:stop"), stop, problem),
    ]
