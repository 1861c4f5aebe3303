"""What Prometheus is told of the web page: how long it takes to answer, by page and status."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carrara.core.metrics import UI_REQUEST_SECONDS

Answer = Callable[[Request], Awaitable[Response]]


def timed(route: Route) -> Route:
    """The same route, whose answers are timed; of a stream, how long it took to begin."""
    answer: Answer = route.endpoint

    async def answered(request: Request) -> Response:
        began, status = time.perf_counter(), 500
        try:
            response = await answer(request)
            status = response.status_code
            return response
        finally:
            UI_REQUEST_SECONDS.labels(route.path, str(status)).observe(time.perf_counter() - began)

    return Route(route.path, answered, methods=sorted(route.methods or ()))
