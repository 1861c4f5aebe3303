"""Golden requests: what one build of the server answered is kept, and asked again of the next one before it goes live.

The file is one of TFRecords of PredictionLog, so that a request log or a warm-up file is one too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.core.tfrecords import read_records, write_record
from carrara.serving.client.base import Refused
from carrara.serving.client.client import Client
from carrara.serving.client.columns import columns_of
from carrara.serving.protocols.prediction_logs import LoggedCall, decode_log, encode_log

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Difference:
    """The request at a place in the file, and how what it is answered differs from what it was answered."""

    request: int
    endpoint: str
    version: int
    why: str


@dataclass(frozen=True)
class Checked:
    """How many requests were asked again, and every one that was answered otherwise."""

    asked: int
    differences: tuple[Difference, ...]


def record(
    client: Client, endpoint: str, requests: Iterable[Mapping[str, Any]], *, version: int | None = None
) -> bytes:
    """Ask each request, of columns by name, and keep it with what is answered; raises what the client does."""
    written: list[bytes] = []
    for columns in requests:
        answered = client.predict(endpoint, columns, version=version)
        inputs = columns_of(columns)
        written.append(write_record(encode_log(LoggedCall(endpoint, answered.version, "", inputs, answered.outputs))))
    return b"".join(written)


def check(client: Client, data: bytes, *, tolerance: float = 0.0) -> Checked:
    """Ask every request of a file again, of the version that answered it then.

    Numbers may differ by `tolerance` of their size; nothing else may. DataError where the file is no such one.
    """
    differences: list[Difference] = []
    place = -1
    for place, call in enumerate(decode_log(one) for one in read_records(data)):
        why = _why_differs(client, call, tolerance)
        if why:
            differences.append(Difference(place, call.endpoint, call.version, why))
    if place < 0:
        raise DataError("the file has no requests")
    return Checked(place + 1, tuple(differences))


def _why_differs(client: Client, call: LoggedCall, tolerance: float) -> str:
    """In what an answer differs from the one before; an empty text where it does not."""
    try:
        found = client.predict(call.endpoint, call.inputs, version=call.version, signature_name=call.signature_name)
    except Refused as error:
        return f"it is refused: {error.message}"
    if found.outputs.keys() != call.outputs.keys():
        return f"it answers {', '.join(sorted(found.outputs))}, and answered {', '.join(sorted(call.outputs))}"
    return next(_differences(call.outputs, found.outputs, tolerance), "")


def _differences(before: Mapping[str, Array], after: Mapping[str, Array], tolerance: float) -> Iterator[str]:
    for name, was in before.items():
        now = after[name]
        if (was.dtype, was.shape) != (now.dtype, now.shape):
            yield f"'{name}' is {now.dtype}{list(now.shape)}, and was {was.dtype}{list(was.shape)}"
            continue
        different = ~_equal(was, now, tolerance)
        if different.any():
            at = tuple(np.argwhere(different)[0].tolist())
            count = f"{np.count_nonzero(different):,} of {was.size:,} values differ"
            yield f"'{name}' is {now[at]!r} at {list(at)}, and was {was[at]!r}; {count}"


def _equal(one: Array, other: Array, tolerance: float) -> Array:
    if one.dtype.kind not in "fc":
        return np.asarray(one == other)
    return np.isclose(other, one, rtol=tolerance, atol=0.0, equal_nan=True)
