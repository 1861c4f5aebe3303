"""Everything that HTTP answers: the routes of each protocol, bodies unpacked and packed, and headers for browsers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carrara.core.errors import RequestError
from carrara.serving.inference import Answer, Inference
from carrara.serving.protocols.http import Asking, HttpRequest, Reply, Route, allowed, compressed, decompressed
from carrara.serving.protocols.problem import problem_of
from carrara.serving.protocols.tensorflow_rest import failed

_TENSORFLOW = "/v1/models"
_CORS = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST"),
    ("access-control-allow-headers", "Content-Type"),
)


class Rest:
    """Leads a request to the first route that its path matches."""

    def __init__(self, inference: Inference, routes: Sequence[Route], *, body_limit: int, cors: bool = False) -> None:
        self._inference, self._routes, self._body_limit, self._cors = inference, routes, body_limit, cors

    def reply_all(self, requests: Sequence[HttpRequest]) -> list[Reply]:
        """A reply to each of the requests that came in together, whose predictions share their runs; never raises."""
        found = [self._route(request) for request in requests]
        asked = [one.asking.request for one in found if isinstance(one, _Waiting)]
        answers = iter(self._inference.answer_all(asked))
        replies = [one.reply(next(answers)) if isinstance(one, _Waiting) else one for one in found]
        return [self._finished(request, reply) for request, reply in zip(requests, replies, strict=True)]

    def _finished(self, request: HttpRequest, reply: Reply) -> Reply:
        reply = compressed(reply, str(request.headers.get("accept-encoding", "") or ""))
        if not self._cors:
            return reply
        return Reply(reply.status, reply.body, reply.content_type, (*reply.headers, *_CORS))

    def _route(self, request: HttpRequest) -> Reply | _Waiting:
        for route in self._routes:
            found = route.pattern.fullmatch(request.path) if route.method == request.method else None
            if found is not None:
                try:
                    answer = route.answer(self._unpacked(request), found)
                except Exception as error:
                    return route.failed(error)
                return _Waiting(route, answer) if isinstance(answer, Asking) else answer
        return self._lost(request)

    def _unpacked(self, request: HttpRequest) -> HttpRequest:
        encoding = str(request.headers.get("content-encoding", "") or "").strip().lower()
        if not encoding:
            return request
        body = decompressed(request.body, encoding, self._body_limit)
        return HttpRequest(request.method, request.path, body, request.headers, request.query)

    def _lost(self, request: HttpRequest) -> Reply:
        methods = allowed(self._routes, request.path)
        if request.method == "OPTIONS" and methods and self._cors:
            return Reply(200, b"")
        if request.method == "HEAD" and "GET" in methods:
            (found,) = self.reply_all([HttpRequest("GET", request.path, b"", request.headers, request.query)])
            return Reply(found.status, b"", found.content_type, found.headers)
        if request.path.lower().startswith(_TENSORFLOW):
            return _malformed(request)
        if methods:
            detail = f"{request.path} takes {' and '.join(methods)}, and not {request.method}"
            return problem_of(405, detail, headers=(("allow", ", ".join(methods)),))
        return problem_of(404, f"there is nothing at {request.path}; /openapi.json lists what is here")


@dataclass(frozen=True)
class _Waiting:
    """What a route asks, until it is answered."""

    route: Route
    asking: Asking

    def reply(self, answer: Answer | Exception) -> Reply:
        try:
            return self.route.failed(answer) if isinstance(answer, Exception) else self.asking.encode(answer)
        except Exception as error:
            return self.route.failed(error)


def _malformed(request: HttpRequest) -> Reply:
    """What TensorFlow Serving says of a path that it has not."""
    return failed(RequestError(f"Malformed request: {request.method} {request.path}"))
