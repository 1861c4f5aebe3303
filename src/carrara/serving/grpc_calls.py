"""What gRPC answers: the methods of each protocol, and calls that came in together answered together."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from carrara.core.errors import BeingLoaded, Overloaded, UnavailableError
from carrara.serving.access_log import Subject
from carrara.serving.counts import Call
from carrara.serving.guard import REPOSITORY_LOAD
from carrara.serving.inference import Inference
from carrara.serving.management import NO_MANAGEMENT, Management
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import examples, health, open_inference, repository, tensorflow_serving
from carrara.serving.protocols.blocks import Blocks
from carrara.serving.protocols.calls import Asked, Method
from carrara.serving.protocols.reflection import PACKAGES, answerer
from carrara.serving.protocols.status import status_of
from carrara.serving.protocols.tensorflow_serving import HANDLE_RELOAD_CONFIG, PREDICT, Reload
from carrara.serving.requests import Answer, Request, subject_of
from carrara.serving.transports.base import (
    LONGEST_WAIT_SECONDS,
    MAX_MESSAGE_BYTES,
    RESOURCE_EXHAUSTED,
    Result,
    Stream,
)

_MOST_SWAPS = 5
_LONG = frozenset({HANDLE_RELOAD_CONFIG, REPOSITORY_LOAD})
"""What returns when models are loaded: in a thread of its own, so that others are not kept waiting."""

_MOST_PATIENT = 256
"""So many calls may wait, each in a thread of its own, until what they ask is in memory."""


class GrpcCalls:
    """Answers calls by their methods' paths; `methods` lists those.

    Results have their subjects where somebody is `told` of them.
    """

    def __init__(
        self,
        inference: Inference,
        manager: ModelManager,
        reload: Reload | None = None,
        *,
        told: bool = True,
        message_bytes: int = MAX_MESSAGE_BYTES,
        management: Management = NO_MANAGEMENT,
    ) -> None:
        self._message_bytes = message_bytes
        self._inference, self._manager, self._told = inference, manager, told
        self._blocks = Blocks(tensorflow_serving.decode_predict, tensorflow_serving.encode_predict)
        self._reading = threading.Lock()
        self._patient = threading.BoundedSemaphore(_MOST_PATIENT)
        self._methods: dict[str, Method] = {
            **tensorflow_serving.methods(manager, reload),
            **examples.methods(),
            **open_inference.methods(manager),
            **repository.methods(manager, management),
            health.CHECK: health.check(manager),
        }

        self.streams: dict[str, Stream] = {
            health.WATCH: health.watch(manager),
            **{f"/{package}.ServerReflection/ServerReflectionInfo": answerer(package) for package in PACKAGES},
        }

    @property
    def methods(self) -> list[str]:
        return list(self._methods)

    def handle(self, calls: Sequence[tuple[str, bytes]]) -> list[Result]:
        """Answer calls that came in together, in their order; predictions among them share their runs."""
        results, apart = self._results(calls)
        for place in apart:
            if results[place].loading and self._patient.acquire(blocking=False):
                results[place] = Result(later=partial(self._once_loaded, calls[place], results[place].loading))
        return [results[place] for place in range(len(calls))]

    def _once_loaded(self, call: tuple[str, bytes], endpoint: str) -> Result:
        """What a call ends with whose endpoint is on its way into memory: it waits until that is there."""
        until = time.monotonic() + LONGEST_WAIT_SECONDS
        try:
            # It may have to go again before its turn, where more is asked at a time than there is memory for.
            while True:
                self._manager.await_loaded(endpoint, until - time.monotonic())
                (result,) = self._results([call])[0].values()
                if not result.loading or time.monotonic() >= until:
                    return result
        finally:
            self._patient.release()

    def _results(self, calls: Sequence[tuple[str, bytes]]) -> tuple[dict[int, Result], list[int]]:
        """The results by place, and the places of the calls that were not answered in blocks."""
        began = time.perf_counter()
        counted: Counter[Call] = Counter()
        results = self._predicted(
            [place for place, (method, _) in enumerate(calls) if method == PREDICT], calls, counted
        )
        apart = [place for place in range(len(calls)) if place not in results] if len(results) < len(calls) else []
        if apart:
            self._answer_apart(apart, calls, results, counted)
        self._inference.metrics.answered(counted, time.perf_counter() - began)
        return results, apart

    def _answer_apart(
        self,
        apart: Sequence[int],
        calls: Sequence[tuple[str, bytes]],
        results: dict[int, Result],
        counted: Counter[Call],
    ) -> None:
        """Add the results of the calls that are in no block."""
        waiting: dict[int, Asked] = {}
        for place in apart:
            method, data = calls[place]
            if len(data) > self._message_bytes:
                # grpcio's words; the native transport has no limit of its own.
                text = f"SERVER: Received message larger than max ({len(data)} vs. {self._message_bytes})"
                results[place] = Result(code=RESOURCE_EXHAUSTED, text=text)
                continue
            if method in _LONG:
                results[place] = Result(later=partial(self._answered, method, data))
                continue
            try:
                asked = self._methods[method](data)
            except Exception as error:
                results[place] = _failed(error)
                continue
            if isinstance(asked, Asked):
                waiting[place] = asked
            else:
                results[place] = Result(asked)
        answers = iter(self._inference.answer_all([one for asked in waiting.values() for one in asked.requests]))
        for place, asked in waiting.items():
            results[place] = self._result(asked, [next(answers) for _ in asked.requests])
            if not results[place].loading:
                counted[self._call(asked.requests[0], calls[place][0], results[place].code)] += 1

    def _call(self, request: Request, method: str, code: int = 0) -> Call:
        # Names that nothing answers are not counted each: there is no end to them.
        endpoint = self._manager.named(request.choice).endpoint
        model = endpoint if self._manager.serves(endpoint) else ""
        return Call(model, method.rsplit("/", 1)[-1], "GRPC", code)

    def _answered(self, method: str, data: bytes) -> Result:
        try:
            asked = self._methods[method](data)
        except Exception as error:
            return _failed(error)
        assert isinstance(asked, bytes)
        return Result(asked)

    def _predicted(
        self, places: Sequence[int], calls: Sequence[tuple[str, bytes]], counted: Counter[Call]
    ) -> dict[int, Result]:
        """What the calls of Predict end with that look alike: they are read, answered and written as one."""
        if self._inference.most_rows == 1:
            return {}
        with self._reading:
            found, _ = self._blocks.read([calls[place][1] for place in places])
        blocks = [part for one in found for part in one.parts(self._inference.most_rows_of(one.request.choice))]
        answers = self._inference.answer_all([block.request for block in blocks])
        results: dict[int, Result] = {}
        for block, answer in zip(blocks, answers, strict=True):
            # After an error each is asked by itself, and the one that is wrong fails alone.
            if isinstance(answer, Answer):
                with self._reading:
                    written = self._blocks.write(answer, len(block.places))
                counted[self._call(block.request, PREDICT)] += len(block.places)
                subject = subject_of(block.request, [answer]) if self._told else None
                results.update(
                    (places[at], Result(data, subject=subject)) for at, data in zip(block.places, written, strict=True)
                )
        return results

    def _result(self, asked: Asked, answers: list[Answer | Exception]) -> Result:
        subject = subject_of(asked.requests[0], answers) if self._told else None
        try:
            return Result(asked.encode(self._of_one_version(asked, answers)), subject=subject)
        except Exception as error:
            return _failed(error, subject)

    def _of_one_version(self, asked: Asked, answers: list[Answer | Exception]) -> list[Answer]:
        """The answers, all of one version: a swap may fall between them, and then they are asked again."""
        for _ in range(_MOST_SWAPS):
            found = [answer for answer in answers if isinstance(answer, Answer)]
            if len(found) < len(answers):
                raise next(answer for answer in answers if isinstance(answer, Exception))
            if len({answer.version for answer in found}) <= 1:
                return found
            answers = self._inference.answer_all(asked.requests)
        raise UnavailableError("the version changed while the request was answered", hint="Ask again in a moment.")


def _failed(error: Exception, subject: Subject | None = None) -> Result:
    code, text = status_of(error)
    loading = error.endpoint if isinstance(error, BeingLoaded) else ""
    return Result(code=code, text=text, subject=subject, again=isinstance(error, Overloaded), loading=loading)
