"""Requests that a version brings with it, run before it serves: TFRecords of PredictionLog, as TensorFlow Serving's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from carrara.core.errors import DataError
from carrara.core.tfrecords import read_records, write_record
from carrara.models.signature import Signature
from carrara.serving.contract import Predictor
from carrara.serving.protocols import examples, tensorflow_serving
from carrara.serving.protocols.calls import Asked
from carrara.serving.protocols.coercion import coerced
from carrara.serving.protocols.example_rows import with_columns
from carrara.serving.protocols.messages import message
from carrara.serving.requests import Request

if TYPE_CHECKING:
    from carrara.data.rows import Rows

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


def warm_up(predictor: Predictor, records: bytes) -> int:
    """Run every recorded request, and return their number; DataError where a record is none, or too many are there."""
    count = 0
    for place, record in enumerate(read_records(records)):
        if place == MOST_RECORDS:
            raise DataError(f"Number of warmup records exceeds the maximum ({MOST_RECORDS})")
        for request in _requests(record, place):
            _run(predictor, request)
        count += 1
    return count


def recorded(model: str, asked: Iterable[Mapping[str, np.ndarray[Any, Any]]]) -> bytes:
    """The records of requests of such inputs."""
    return b"".join(write_record(_log(tensorflow_serving.encode_request(model, inputs))) for inputs in asked)


def drawn(signature: Signature, rows: Rows, count: int) -> list[dict[str, Any]]:
    """Inputs of so many of the rows, evenly drawn: each alone, and all in one."""
    every = max(rows.height // count, 1) if count else 1
    some = rows.gather_every(every).select([spec.name for spec in signature.inputs]).head(count)
    asked = [*(some[place : place + 1] for place in range(some.height)), some]
    return [dict(signature.tensors(one)) for one in asked if one.height]


def inputs_of(records: bytes) -> Iterator[dict[str, Any]]:
    """The inputs of recorded requests."""
    for place, record in enumerate(read_records(records)):
        for request in _requests(record, place):
            yield dict(request.inputs)


def _log(request: bytes) -> bytes:
    log = message("tensorflow.serving.PredictionLog")()
    log.predict_log.request.MergeFromString(request)
    return bytes(log.SerializeToString())


def _run(predictor: Predictor, request: Request) -> None:
    inputs = with_columns(request.inputs, predictor.signatures, request.choice.endpoint)
    name = request.signature_name or predictor.signature_for(inputs)
    predictor.predict(coerced(inputs, predictor.signatures[name]) if name in predictor.signatures else inputs, name)


def _requests(record: bytes, place: int) -> tuple[Request, ...]:
    try:
        log = message("tensorflow.serving.PredictionLog").FromString(record)
        kind = log.WhichOneof("log_type")
        readers: dict[str, Any] = {
            "predict_log": tensorflow_serving.predict,
            "classify_log": examples.classify,
            "regress_log": examples.regress,
            "multi_inference_log": examples.multi_inference,
        }
        if kind not in readers:
            raise DataError(f"it is a {kind or 'record of no kind'}, which cannot be run")
        asked: Asked = readers[kind](getattr(log, kind).request.SerializeToString())
    except Exception as error:
        raise DataError(f"Failed to parse a warmup record: {place}: {error}") from error
    return asked.requests
