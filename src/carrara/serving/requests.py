"""Requests for predictions, of any protocol, and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from carrara.core.named_columns import Batch
from carrara.core.stages import Stage, stage_of
from carrara.serving.access_log import Subject
from carrara.serving.contract import Choice

Array = np.ndarray[Any, Any]


class Request(NamedTuple):
    """A prediction request of any protocol.

    It may stand for several `calls` that look alike, with equal numbers of rows. `api` is the method that asked.
    """

    choice: Choice
    inputs: Mapping[str, Array]
    signature_name: str = ""
    output_filter: tuple[str, ...] = ()
    calls: int = 1
    api: str = "Predict"


class Answer(NamedTuple):
    """The outputs of one request, from exactly one version, which it names."""

    endpoint: str
    version: int
    signature_name: str
    outputs: Mapping[str, Array]
    rows: int = 0
    run: Stage | None = None


def rows_of(request: Request) -> int:
    """The rows of a request."""
    if isinstance(request.inputs, Batch):
        return request.inputs.height
    rows = [len(array) for array in request.inputs.values() if array.ndim]
    return max(rows, default=min(len(request.inputs), 1))


def form_of(inputs: Mapping[str, Array]) -> tuple[Any, ...]:
    """The names of the inputs and what one row of each looks like; only requests of one form can be joined."""
    if isinstance(inputs, Batch):
        return inputs.form
    return tuple((name, inputs[name].dtype, inputs[name].shape[1:]) for name in sorted(inputs))


def concatenated(inputs: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """The rows of inputs of one form, one after the other."""
    first, *others = inputs
    if isinstance(first, Batch):
        return first.followed_by(others)
    return {name: np.concatenate([one[name] for one in inputs]) for name in first}


def subject_of(request: Request, answers: Sequence[Answer | Exception]) -> Subject:
    """What one call was about whose first request this is."""
    found = [answer for answer in answers if isinstance(answer, Answer)]
    if not found:
        errors = (stage_of(answer) for answer in answers if isinstance(answer, Exception))
        return Subject(request.choice.endpoint, run=next((run for run in errors if run is not None), None))
    first, rows = found[0], sum(one.rows for one in found) // request.calls
    return Subject(first.endpoint, first.version, rows, first.run)
