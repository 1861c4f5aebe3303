"""The middle of serving: requests of any protocol in, answers out, one run of the model for all that wait."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.errors import CarraraError, NotFoundError, RequestError, did_you_mean
from carrara.serving.contract import Choice, Prediction, Predictor
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.coercion import coerced

Array = np.ndarray[Any, Any]
Log = Callable[..., None]
"""Takes what was predicted, and by name how it was answered; see `PredictionLog.append`."""

_logger = logging.getLogger("carrara.serving")


@dataclass(frozen=True)
class Request:
    """A prediction request of any protocol.

    It may stand for several `calls` that look alike, with equal numbers of rows.
    """

    choice: Choice
    inputs: Mapping[str, Array]
    signature_name: str = ""
    output_filter: tuple[str, ...] = ()
    calls: int = 1


@dataclass(frozen=True)
class Answer:
    """The outputs of one request, from exactly one version, which it names."""

    endpoint: str
    version: int
    signature_name: str
    outputs: Mapping[str, Array]


class Inference:
    """Answers requests from the loaded versions and hands what was predicted to the log."""

    def __init__(self, manager: ModelManager, log: Log | None = None) -> None:
        self._manager = manager
        self._log = log

    def answer_all(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """An answer or an error for each request; those of one version and form share one run."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            groups[request.choice, request.signature_name, *_form(request.inputs)].append(place)
        answers: list[Answer | Exception] = [CarraraError("unanswered")] * len(requests)
        for places in groups.values():
            for place, answer in zip(places, self._group([requests[p] for p in places]), strict=True):
                answers[place] = answer
        return answers

    def _group(self, requests: list[Request]) -> list[Answer | Exception]:
        try:
            with self._manager.acquire(requests[0].choice) as predictor:
                return self._with(predictor, requests)
        except Exception as error:
            return [error] * len(requests)

    def _with(self, predictor: Predictor, requests: list[Request]) -> list[Answer | Exception]:
        if len(requests) == 1:
            return [self._alone(predictor, requests[0])]
        try:
            columns = [_columns(predictor, request) for request in requests]
            counts = [_rows(inputs) for inputs in columns]
            joined = {name: np.concatenate([inputs[name] for inputs in columns]) for name in columns[0]}
            began = time.perf_counter()
            prediction = predictor.predict(joined, requests[0].signature_name)
        except Exception:
            # One poison request must fail alone: each is asked again by itself.
            return [self._alone(predictor, request) for request in requests]
        self._logged(prediction, requests[0], time.perf_counter() - began)
        ends = np.cumsum(counts)
        return [
            _answer(predictor, request, prediction, slice(end - count, end))
            for request, count, end in zip(requests, counts, ends, strict=True)
        ]

    def _alone(self, predictor: Predictor, request: Request) -> Answer | Exception:
        began = time.perf_counter()
        try:
            prediction = predictor.predict(_columns(predictor, request), request.signature_name)
        except CarraraError as error:
            return error
        except Exception as error:
            _logger.exception("a prediction of %s failed", request.choice.endpoint)
            return error
        self._logged(prediction, request, time.perf_counter() - began)
        return _answer(predictor, request, prediction, slice(None))

    def _logged(self, prediction: Prediction, request: Request, latency: float) -> None:
        if self._log is not None:
            self._log(prediction.record, endpoint=request.choice.endpoint, latency=latency)


def _form(inputs: Mapping[str, Array]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names of the inputs and what one row of each looks like; only requests of one form can be joined."""
    yield from ((name, inputs[name].shape[1:]) for name in sorted(inputs))


def _columns(predictor: Predictor, request: Request) -> dict[str, Array]:
    """The inputs in the types of whichever signature knows each of them."""
    inputs, signatures = dict(request.inputs), predictor.signatures
    if request.signature_name and request.signature_name not in signatures:
        raise NotFoundError("signature", request.signature_name, signatures, where=request.choice.endpoint)
    for signature in [signatures[request.signature_name]] if request.signature_name else signatures.values():
        inputs = coerced(inputs, signature)
    return inputs


def _rows(inputs: Mapping[str, Array]) -> int:
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1:
        raise RequestError("the inputs have different numbers of rows")
    return counts.pop()


def _answer(predictor: Predictor, request: Request, prediction: Prediction, rows: slice) -> Answer | Exception:
    for name in request.output_filter:
        if name not in prediction.outputs:
            message = f"output tensor alias not found in signature: {name}"
            return RequestError(message, field=name, hint=did_you_mean(name, prediction.outputs))
    wanted = request.output_filter or tuple(prediction.outputs)
    outputs = {name: prediction.outputs[name][rows] for name in wanted}
    return Answer(request.choice.endpoint, predictor.version, prediction.signature_name, outputs)
