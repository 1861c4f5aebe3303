"""Runs of a model: one request alone, or several joined, and what is kept of what was seen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from carrara.core.errors import CarraraError, NotFoundError, RequestError, did_you_mean
from carrara.core.named_columns import Batch
from carrara.core.stages import watched
from carrara.serving.contract import Prediction, Predictor
from carrara.serving.metrics import Metrics
from carrara.serving.observed import Observed
from carrara.serving.protocols.coercion import coerced
from carrara.serving.protocols.example_rows import with_columns
from carrara.serving.recording import Recording
from carrara.serving.requests import Answer, Array, Request, concatenated
from carrara.serving.shadows import Shadows
from carrara.serving.traffic import Traffic

Log = Callable[..., None]
"""Takes what was predicted, and by name how it was answered; see `PredictionLog.append`."""

Taken = Callable[[Sequence[Request], Mapping[str, Array], Prediction, int], None]
"""Is handed each run, to keep some of its requests; see `RequestLog.ran`."""

FEATURES = "features"
"""In an output filter: the features that were read for the entity keys, each by its reference."""

_logger = logging.getLogger("carrara.serving")


class ModelRuns:
    """Runs predictors for requests, and hands on what each run was asked and what it answered.

    With `watch`, or while `recording` is on, each is a stage with parts. `traffic` says of an endpoint how it is
    shared.
    """

    def __init__(
        self,
        metrics: Metrics,
        traffic: Callable[[str], Traffic | None],
        shadows: Shadows,
        *,
        log: Log | None = None,
        observed: Observed | None = None,
        taken: Taken | None = None,
        watch: bool = False,
    ) -> None:
        self._metrics, self._traffic, self._shadows = metrics, traffic, shadows
        self._log, self._observed, self._taken, self._watch = log, observed, taken, watch
        self.recording = Recording()

    def answers(self, predictor: Predictor, requests: list[Request]) -> list[Answer | Exception]:
        if len(requests) == 1:
            return [self._alone(predictor, requests[0])]
        try:
            began = time.perf_counter()
            name, inputs, counts = _joined(predictor, requests)
            prediction = self._run(predictor, inputs, name, requests)
            if any(len(array) != sum(counts) for array in prediction.outputs.values()):
                raise RequestError("the answers are not one a row")
        except Exception:
            # One poison request must fail alone: each is asked again by itself.
            return [self._alone(predictor, request) for request in requests]
        self._saw(predictor, requests, inputs, prediction, time.perf_counter() - began)
        ends = np.cumsum(counts)
        return [
            _answer(predictor, request, prediction, slice(end - count, end), count)
            for request, count, end in zip(requests, counts, ends, strict=True)
        ]

    def _run(
        self, predictor: Predictor, inputs: Mapping[str, Array], name: str, requests: Sequence[Request]
    ) -> Prediction:
        if not (self._watch or self.recording.on):
            return predictor.predict(inputs, name)
        calls = sum(one.calls for one in requests)
        watching = watched("model.predict", model=predictor.model, version=predictor.version, calls=calls)
        try:
            with watching as run:
                prediction = predictor.predict(inputs, name)
        finally:
            self.recording.add(watching.stage)
        return prediction._replace(run=run)

    def _alone(self, predictor: Predictor, request: Request) -> Answer | Exception:
        began = time.perf_counter()
        try:
            name, inputs = _columns(predictor, request)
            prediction = self._run(predictor, inputs, name, [request])
            _check_calls(predictor, request, prediction)
        except CarraraError as error:
            self._failed(predictor, request, error)
            return error
        except Exception as error:
            self._failed(predictor, request, error)
            _logger.exception("a prediction of %s failed", request.choice.endpoint)
            return error
        self._saw(predictor, [request], inputs, prediction, time.perf_counter() - began)
        return _answer(predictor, request, prediction, ..., prediction.row_count)

    def _saw(
        self,
        predictor: Predictor,
        requests: Sequence[Request],
        inputs: Mapping[str, Array],
        prediction: Prediction,
        seconds: float,
    ) -> None:
        """Keep what is seen of one run, log it, and put it to the shadows."""
        endpoint = requests[0].choice.endpoint
        calls = sum(one.calls for one in requests)
        self._metrics.ran(endpoint, requests[0].api, prediction.row_count, seconds, calls, prediction.padding)
        if self._observed is not None:
            self._observed.ran(_key(predictor, requests[0]), seconds, prediction.outputs, calls)
        if self._taken is not None:
            self._taken(requests, inputs, prediction, predictor.version)
        if self._log is not None:
            self._log(prediction.record, endpoint=endpoint, latency=seconds)
        traffic = self._traffic(endpoint)
        if traffic is not None and traffic.shadows:
            self._shadows.ask(endpoint, traffic.shadows, inputs, prediction)

    def _failed(self, predictor: Predictor, request: Request, error: Exception) -> None:
        # The calls of a block are asked again, each by itself.
        if self._observed is not None and request.calls == 1:
            self._observed.failed(_key(predictor, request), refused=not is_fault(error))


def _key(predictor: Predictor, request: Request) -> tuple[str, str, int]:
    return request.choice.endpoint, predictor.model, predictor.version


def is_fault(answer: Answer | Exception) -> bool:
    """Whether a version could not answer what another may: not an answer, and not a request that is wrong."""
    return isinstance(answer, Exception) and not isinstance(answer, RequestError | NotFoundError)


def _joined(predictor: Predictor, requests: Sequence[Request]) -> tuple[str, Mapping[str, Array], list[int]]:
    """The signature and inputs of one run for all requests, and the rows of each; RequestError where there is none."""
    counts = [_rows(request.inputs) for request in requests]
    name, inputs = _columns(predictor, requests[0]._replace(inputs=concatenated([one.inputs for one in requests])))
    if not predictor.signatures[name].joins:
        raise RequestError("these requests cannot be joined")
    return name, inputs, counts


def _check_calls(predictor: Predictor, request: Request, prediction: Prediction) -> None:
    """CarraraError where a version that answers row by row answers another number of rows; RequestError where a request
    stands for several calls and its rows are not each by itself."""
    by_rows = predictor.signatures[prediction.signature_name].joins
    wrong = [
        array.shape
        for array in prediction.outputs.values()
        if not len(array.shape) or len(array) != prediction.row_count
    ]
    if by_rows and wrong:
        told = f"{predictor.model}@{predictor.version} answered the shape {wrong[0]} to {prediction.row_count} rows"
        raise RequestError("these calls cannot be joined") if request.calls > 1 else CarraraError(told)
    if request.calls > 1 and not by_rows:
        raise RequestError("these calls cannot be joined")


def _columns(predictor: Predictor, request: Request) -> tuple[str, Mapping[str, Array]]:
    """The signature that a request means, and its inputs in the types of that signature."""
    signatures, endpoint = predictor.signatures, request.choice.endpoint
    inputs = with_columns(request.inputs, signatures, endpoint)
    name = request.signature_name or predictor.signature_for(inputs)
    if name not in signatures:
        raise NotFoundError("signature", name, signatures, where=endpoint)
    return name, coerced(inputs, signatures[name])


def _rows(inputs: Mapping[str, Array]) -> int:
    if isinstance(inputs, Batch):
        return inputs.height
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1:
        raise RequestError("the inputs have different numbers of rows")
    return counts.pop()


def _answer(
    predictor: Predictor, request: Request, prediction: Prediction, rows: Any, count: int
) -> Answer | Exception:
    outputs: dict[str, Array] = {}
    for name in request.output_filter or prediction.outputs:
        if name in prediction.outputs:
            outputs[name] = prediction.outputs[name][rows]
        elif name == FEATURES and prediction.features:
            outputs |= {reference: values[rows] for reference, values in prediction.features.items()}
        else:
            message = f"output tensor alias not found in signature: {name}"
            hint = did_you_mean(name, prediction.outputs)
            hint = hint or f"Outputs expected to be in the set {{{','.join(sorted(prediction.outputs))}}}."
            return RequestError(message, field=name, hint=hint)
    name, run = prediction.signature_name, prediction.run
    return Answer(request.choice.endpoint, predictor.version, name, outputs, int(count), run)
