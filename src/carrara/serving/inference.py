"""The middle of serving: requests of any protocol in, answers out, one run of the model for all that wait."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import CarraraError, NotFoundError, RequestError, did_you_mean
from carrara.core.named_columns import Batch
from carrara.core.stages import Stage, stage_of, watched
from carrara.serving.access_log import Subject
from carrara.serving.contract import Choice, Prediction, Predictor
from carrara.serving.limits import NO_LIMITS, Limits
from carrara.serving.manager import ModelManager
from carrara.serving.metrics import Metrics
from carrara.serving.observed import Observed
from carrara.serving.protocols.coercion import coerced
from carrara.serving.protocols.example_rows import with_columns
from carrara.serving.shadows import Shadows

Array = np.ndarray[Any, Any]
Log = Callable[..., None]
"""Takes what was predicted, and by name how it was answered; see `PredictionLog.append`."""

FEATURES = "features"
"""In an output filter: the features that were read for the entity keys, each by its reference."""

MOST_ROWS = 1024
"""In one run of a model, of requests that are joined; a larger request is run by itself."""

_logger = logging.getLogger("carrara.serving")


@dataclass(frozen=True)
class Request:
    """A prediction request of any protocol.

    It may stand for several `calls` that look alike, with equal numbers of rows. `api` is the method that asked.
    """

    choice: Choice
    inputs: Mapping[str, Array]
    signature_name: str = ""
    output_filter: tuple[str, ...] = ()
    calls: int = 1
    api: str = "Predict"


@dataclass(frozen=True)
class Answer:
    """The outputs of one request, from exactly one version, which it names."""

    endpoint: str
    version: int
    signature_name: str
    outputs: Mapping[str, Array]
    rows: int = 0
    run: Stage | None = None


Taken = Callable[[Sequence[Request], Mapping[str, Array], Prediction, int], None]
"""Is handed each run, to keep some of its requests; see `RequestLog.ran`."""


class Inference:
    """Answers requests from the loaded versions and hands what was predicted to the log."""

    def __init__(
        self,
        manager: ModelManager,
        log: Log | None = None,
        observed: Observed | None = None,
        *,
        most_rows: int = MOST_ROWS,
        watch: bool = False,
        limits: Limits = NO_LIMITS,
        metrics: Metrics | None = None,
        taken: Taken | None = None,
    ) -> None:
        self._limits, self._taken = limits, taken
        self.most_rows, self.metrics, self._watch = most_rows, metrics or Metrics(), watch
        self._manager = manager
        self._log = log
        # Without a workspace nobody looks, and what was seen would only pile up.
        self._observed = observed
        self.shadows = Shadows(manager, observed or Observed(), log)

    def answer_all(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """An answer or an error for each request; those of one version and form share one run."""
        requests = [self._of_endpoint(one) for one in requests]
        return self._within_limits(requests) if self._limits else self._answered(requests)

    def _of_endpoint(self, request: Request) -> Request:
        """The request; one that asks for a version by its id, as one to the endpoint that serves it."""
        named = self._manager.named(request.choice)
        return request if named is request.choice else replace(request, choice=named)

    def _within_limits(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        found: list[Answer | Exception | None] = [
            self._limits.too_large(one.choice.endpoint, rows_of(one) // one.calls) for one in requests
        ]
        asked = [place for place, error in enumerate(found) if error is None]
        uses = [(requests[place].choice.endpoint, requests[place].calls) for place in asked]
        for place, refused in zip(asked, self._limits.enter(uses), strict=True):
            found[place] = refused
        let_in = [place for place in asked if found[place] is None]
        try:
            answers = iter(self._answered([requests[place] for place in let_in]))
        finally:
            self._limits.leave([(requests[place].choice.endpoint, requests[place].calls) for place in let_in])
        return [next(answers) if one is None else one for one in found]

    def _answered(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        if len(requests) < 2:
            return [answer for request in requests for answer in self._by_itself(request)]
        groups: dict[Any, list[int]] = defaultdict(list)
        answers: list[Answer | Exception] = [CarraraError("unanswered")] * len(requests)
        for place, request in enumerate(requests):
            choice = self._drawn(request)
            if choice is None:
                answers[place] = _led_apart()
            else:
                groups[choice, request.signature_name, form_of(request.inputs)].append(place)
        for choice, places in self._parts(groups, requests):
            for place, answer in zip(places, self._group(choice, [requests[p] for p in places]), strict=True):
                answers[place] = answer
        return answers

    def most_rows_of(self, choice: Choice) -> int:
        """The most rows of one run of a version: its own, or those of the server."""
        return self._manager.most_rows(choice) or self.most_rows

    def answer(self, request: Request) -> Answer:
        """The answer of one request; raises what is wrong with it."""
        (found,) = self.answer_all([request])
        if isinstance(found, Exception):
            raise found
        return found

    def _by_itself(self, request: Request) -> list[Answer | Exception]:
        choice = self._drawn(request)
        if choice is None:
            return [_led_apart()]
        self._count(request, rows_of(request))
        return self._group(choice, [request])

    def _drawn(self, request: Request) -> Choice | None:
        """The choice of a request; where the traffic of its endpoint is shared, what it falls to.

        None for several calls in one, where each falls to a version of its own.
        """
        choice = request.choice
        traffic = self._manager.traffic(choice.endpoint)
        if traffic is None or not traffic.shares or choice.version is not None or choice.label:
            return choice
        if request.calls > 1:
            return None
        version = traffic.version(request.inputs)
        return choice if version is None else replace(choice, version=version, drawn=True)

    def _parts(
        self, groups: Mapping[Any, Sequence[int]], requests: Sequence[Request]
    ) -> Iterator[tuple[Choice, list[int]]]:
        """The groups, each in parts of at most `most_rows` rows; a request is never cut."""
        for (choice, *_), places in groups.items():
            part: list[int] = []
            rows, most = 0, self.most_rows_of(choice)
            for place in places:
                size = rows_of(requests[place])
                self._count(requests[place], size)
                if part and rows + size > most:
                    yield choice, part
                    part, rows = [], 0
                part.append(place)
                rows += size
            yield choice, part

    def _count(self, request: Request, rows: int) -> None:
        if self._manager.serves(request.choice.endpoint):
            self.metrics.predicted(request.choice.endpoint, rows // request.calls, request.calls)

    def _group(self, choice: Choice, requests: list[Request]) -> list[Answer | Exception]:
        try:
            with self._manager.acquire(choice) as predictor:
                answers = self._with(predictor, requests)
        except Exception as error:
            return [error] * len(requests)
        if choice.drawn and any(_is_fault(answer) for answer in answers):
            # What a version that is being tried cannot answer, the primary does.
            primary = replace(choice, version=None, drawn=False)
            return [
                self._group(primary, [request])[0] if _is_fault(answer) else answer
                for request, answer in zip(requests, answers, strict=True)
            ]
        return answers

    def _with(self, predictor: Predictor, requests: list[Request]) -> list[Answer | Exception]:
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
        if not self._watch:
            return predictor.predict(inputs, name)
        calls = sum(one.calls for one in requests)
        with watched("model.predict", model=predictor.model, version=predictor.version, calls=calls) as run:
            prediction = predictor.predict(inputs, name)
        return replace(prediction, run=run)

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
        self.metrics.ran(endpoint, requests[0].api, prediction.row_count, seconds, calls, prediction.padding)
        if self._observed is not None:
            self._observed.ran(_key(predictor, requests[0]), seconds, prediction.outputs, calls)
        if self._taken is not None:
            self._taken(requests, inputs, prediction, predictor.version)
        if self._log is not None:
            self._log(prediction.record, endpoint=endpoint, latency=seconds)
        traffic = self._manager.traffic(endpoint)
        if traffic is not None and traffic.shadows:
            self.shadows.ask(endpoint, traffic.shadows, inputs, prediction)

    def _failed(self, predictor: Predictor, request: Request, error: Exception) -> None:
        # The calls of a block are asked again, each by itself.
        if self._observed is not None and request.calls == 1:
            self._observed.failed(_key(predictor, request), refused=not _is_fault(error))


def _led_apart() -> RequestError:
    return RequestError("each of these calls is led by its own key")


def _key(predictor: Predictor, request: Request) -> tuple[str, str, int]:
    return request.choice.endpoint, predictor.model, predictor.version


def _is_fault(answer: Answer | Exception) -> bool:
    """Whether a version could not answer what another may: not an answer, and not a request that is wrong."""
    return isinstance(answer, Exception) and not isinstance(answer, RequestError | NotFoundError)


def rows_of(request: Request) -> int:
    """The rows of a request."""
    if isinstance(request.inputs, Batch):
        return request.inputs.height
    rows = (len(array) for array in request.inputs.values() if array.ndim)
    return max(rows, default=min(len(request.inputs), 1))


def form_of(inputs: Mapping[str, Array]) -> tuple[Any, ...]:
    """The names of the inputs and what one row of each looks like; only requests of one form can be joined."""
    if isinstance(inputs, Batch):
        return inputs.form
    return tuple((name, inputs[name].dtype, inputs[name].shape[1:]) for name in sorted(inputs))


def _joined(predictor: Predictor, requests: Sequence[Request]) -> tuple[str, Mapping[str, Array], list[int]]:
    """The signature and inputs of one run for all requests, and the rows of each; RequestError where there is none."""
    counts = [_rows(request.inputs) for request in requests]
    name, inputs = _columns(predictor, replace(requests[0], inputs=concatenated([one.inputs for one in requests])))
    if not predictor.signatures[name].joins:
        raise RequestError("these requests cannot be joined")
    return name, inputs, counts


def concatenated(inputs: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """The rows of inputs of one form, one after the other."""
    first, *others = inputs
    if isinstance(first, Batch):
        return first.followed_by(others)
    return {name: np.concatenate([one[name] for one in inputs]) for name in first}


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


def subject_of(request: Request, answers: Sequence[Answer | Exception]) -> Subject:
    """What one call was about whose first request this is."""
    found = [answer for answer in answers if isinstance(answer, Answer)]
    if not found:
        errors = (stage_of(answer) for answer in answers if isinstance(answer, Exception))
        return Subject(request.choice.endpoint, run=next((run for run in errors if run is not None), None))
    first, rows = found[0], sum(one.rows for one in found) // request.calls
    return Subject(first.endpoint, first.version, rows, first.run)


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
