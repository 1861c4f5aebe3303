"""The middle of serving: requests of any protocol in, answers out, one run of the model for all that wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from carrara.core.errors import CarraraError, RequestError
from carrara.serving.contract import Choice
from carrara.serving.limits import NO_LIMITS, Limits
from carrara.serving.manager import ModelManager
from carrara.serving.metrics import Metrics
from carrara.serving.model_runs import Log, ModelRuns, Taken, is_fault
from carrara.serving.observed import Observed
from carrara.serving.recording import Recording
from carrara.serving.requests import Answer, Request, form_of, rows_of
from carrara.serving.shadows import Shadows

MOST_ROWS = 1024
"""In one run of a model, of requests that are joined; a larger request is run by itself."""


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
        self.most_rows, self.metrics = most_rows, metrics or Metrics()
        self._manager, self._limits = manager, limits
        self.shadows = Shadows(manager, observed or Observed(), log)
        # Without a workspace nobody looks at what was observed, and it would only pile up.
        self._runs = ModelRuns(
            self.metrics, manager.traffic, self.shadows, log=log, observed=observed, taken=taken, watch=watch
        )

    @property
    def recording(self) -> Recording:
        """Of what runs spend their time on, while somebody wants to know."""
        return self._runs.recording

    def answer_all(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """An answer or an error for each request; those of one version and form share one run."""
        requests = [self._of_endpoint(one) for one in requests]
        return self._within_limits(requests) if self._limits else self._answered(requests)

    def _of_endpoint(self, request: Request) -> Request:
        """The request; one that asks for a version by its id, as one to the endpoint that serves it."""
        named = self._manager.named(request.choice)
        return request if named is request.choice else request._replace(choice=named)

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
        return choice if version is None else choice._replace(version=version, drawn=True)

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
                answers = self._runs.answers(predictor, requests)
        except Exception as error:
            return [error] * len(requests)
        if choice.drawn and any(is_fault(answer) for answer in answers):
            # What a version that is being tried cannot answer, the primary does.
            primary = choice._replace(version=None, drawn=False)
            return [
                self._group(primary, [request])[0] if is_fault(answer) else answer
                for request, answer in zip(requests, answers, strict=True)
            ]
        return answers


def _led_apart() -> RequestError:
    return RequestError("each of these calls is led by its own key")
