"""Everything that HTTP answers: the routes of each protocol, bodies unpacked and packed, and headers for browsers."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import NamedTuple
from urllib.parse import unquote

from carrara.core.errors import BeingLoaded, CarraraError, DeadlinePassed, Overloaded, RequestError
from carrara.serving.contract import Choice
from carrara.serving.counts import Call
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.alike import blocks_of
from carrara.serving.protocols.blocks import Block
from carrara.serving.protocols.http import (
    Asking,
    HttpRequest,
    Reply,
    Route,
    allowed,
    compressed,
    decompressed,
    lead,
    timeout_of,
)
from carrara.serving.protocols.problem import problem_of
from carrara.serving.protocols.status import HTTP_STATUS
from carrara.serving.protocols.tensorflow_rest import failed
from carrara.serving.requests import Answer, subject_of
from carrara.serving.transports.base import LONGEST_WAIT_SECONDS, MAX_MESSAGE_BYTES, OVERLOADED

_MOST_PATHS = 1024
_TENSORFLOW = "/v1/models"
_PREDICTIONS = re.compile(r"/v[12]/models/([^/:]+).*[:/](predict|classify|regress|infer)$", re.IGNORECASE)
_METHODS = {"predict": "Predict", "classify": "Classify", "regress": "Regress", "infer": "ModelInfer"}
_CODES = {status: code for code, status in HTTP_STATUS.items()} | {200: 0, 400: 3}
_CORS = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST"),
    ("access-control-allow-headers", "Content-Type"),
)


class Rest:
    """Leads a request to the first route that its path matches.

    Replies have their subjects where somebody is `told` of them.
    """

    def __init__(
        self,
        inference: Inference,
        manager: ModelManager,
        routes: Sequence[Route],
        *,
        cors: bool = False,
        told: bool = True,
        message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._message_bytes = message_bytes
        self._inference, self._manager, self._routes = inference, manager, routes
        self._cors, self._told = cors, told
        # A client asks the same path again and again, and to match it takes as long as to read a short body.
        self._led = lru_cache(_MOST_PATHS)(partial(lead, routes))

    def reply_all(self, requests: Sequence[HttpRequest]) -> list[Reply]:
        """A reply to each of the requests that came in together, whose predictions share their runs; never raises."""
        began = time.perf_counter()
        found = [self._route(request) for request in requests]
        answered = iter(self._answered([one for one in found if isinstance(one, _Waiting)]))
        replies = [next(answered) if isinstance(one, _Waiting) else one for one in found]
        self._count(requests, replies, time.perf_counter() - began)
        return [self._finished(request, reply) for request, reply in zip(requests, replies, strict=True)]

    def _finished(self, request: HttpRequest, reply: Reply) -> Reply:
        reply = compressed(reply, request.headers)
        if not self._cors:
            return reply
        return reply._replace(headers=(*reply.headers, *_CORS))

    def _route(self, request: HttpRequest) -> Reply | _Waiting:
        led = self._led(request.method, request.path)
        if led is None:
            return self._lost(request)
        route, found = led
        if request.due <= time.monotonic():
            return route.failed(_late(request))
        try:
            answer = route.answer(self._unpacked(request), found)
        except Exception as error:
            return _failed(route, error)
        return _Waiting(route, answer) if isinstance(answer, Asking) else answer

    def _answered(self, waiting: Sequence[_Waiting]) -> list[Reply]:
        """The replies to what is asked: to what looks alike as one, and to all else, and after an error, by itself."""
        replies = self._of_blocks([one.asking for one in waiting])
        places = [place for place in range(len(waiting)) if place not in replies]
        answers = self._inference.answer_all([waiting[place].asking.request for place in places])
        for place, answer in zip(places, answers, strict=True):
            replies[place] = waiting[place].reply(answer, self._told)
        return [replies[place] for place in range(len(waiting))]

    def _of_blocks(self, askings: Sequence[Asking]) -> dict[int, Reply]:
        replies: dict[int, Reply] = {}
        if len(askings) < 2 or self._inference.most_rows == 1:
            return replies
        blocks = blocks_of(askings, self._inference.most_rows)
        answers = self._inference.answer_all([block.request for block in blocks])
        for block, answer in zip(blocks, answers, strict=True):
            if isinstance(answer, Answer):
                # What cannot be written is asked again, each by itself, and so it is told.
                with suppress(Exception):
                    together = [askings[place] for place in block.places]
                    replies.update(zip(block.places, self._split(together, block, answer), strict=True))
        return replies

    def _split(self, askings: Sequence[Asking], block: Block, answer: Answer) -> list[Reply]:
        split = askings[0].split
        assert split is not None
        replies = split(answer, [asking.label for asking in askings])
        if not self._told:
            return replies
        subject = subject_of(block.request, [answer])
        return [reply._replace(subject=subject) for reply in replies]

    def _count(self, requests: Sequence[HttpRequest], replies: Sequence[Reply], seconds: float) -> None:
        counted: Counter[Call] = Counter()
        asked = zip(requests, replies, strict=True)
        ended = Counter((request.path, reply.status) for request, reply in asked if not reply.loading)
        for (path, status), times in ended.items():
            choice, method = _predicts(path)
            name = self._manager.named(choice).endpoint
            if method and self._manager.serves(name):
                counted[Call(name, method, "REST", _CODES.get(status, 2))] += times
        if counted:
            self._inference.metrics.answered(counted, seconds)

    def _unpacked(self, request: HttpRequest) -> HttpRequest:
        encoding = request.headers.get("content-encoding")
        if not encoding:
            return request
        encoding = str(encoding).strip().lower()
        body = decompressed(request.body, encoding, self._message_bytes)
        return HttpRequest(request.method, request.path, body, request.headers, request.query)

    def _lost(self, request: HttpRequest) -> Reply:
        methods = allowed(self._routes, request.path)
        if request.method == "OPTIONS" and methods and self._cors:
            return Reply(200, b"")
        if request.method == "HEAD" and "GET" in methods:
            (found,) = self.reply_all([HttpRequest("GET", request.path, b"", request.headers, request.query)])
            return found._replace(body=b"")
        if request.path.lower().startswith(_TENSORFLOW):
            return _malformed(request)
        if methods:
            detail = f"{request.path} takes {' and '.join(methods)}, and not {request.method}"
            return problem_of(405, detail, headers=(("allow", ", ".join(methods)),))
        return problem_of(404, f"there is nothing at {request.path}; /openapi.json lists what is here")


class _Waiting(NamedTuple):
    """What a route asks, until it is answered."""

    route: Route
    asking: Asking

    def reply(self, answer: Answer | Exception, told: bool) -> Reply:
        found = self._encoded(answer)
        if not told:
            return found
        subject = subject_of(self.asking.request, [answer])
        return found._replace(subject=subject)

    def _encoded(self, answer: Answer | Exception) -> Reply:
        try:
            return _failed(self.route, answer) if isinstance(answer, Exception) else self.asking.encode(answer)
        except Exception as error:
            return self.route.failed(error)


@lru_cache(_MOST_PATHS)
def _predicts(path: str) -> tuple[Choice, str]:
    """Which endpoint a path has predict, and by which method; none for another path."""
    found = _PREDICTIONS.match(path)
    return (Choice(unquote(found[1])), _METHODS[found[2].lower()]) if found else (Choice(""), "")


def _failed(route: Route, error: Exception) -> Reply:
    reply = route.failed(error)
    return reply._replace(loading=True) if isinstance(error, BeingLoaded) else reply


def _late(request: HttpRequest) -> CarraraError:
    """Why a request that waited for its turn is not answered any more."""
    if timeout_of(request.headers) > LONGEST_WAIT_SECONDS:
        return Overloaded(OVERLOADED)
    return DeadlinePassed("the deadline passed before the request was looked at")


def _malformed(request: HttpRequest) -> Reply:
    """What TensorFlow Serving says of a path that it has not."""
    return failed(RequestError(f"Malformed request: {request.method} {request.path}"))
