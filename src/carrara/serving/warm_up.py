"""Requests that a version brings with it, run before it serves: TFRecords of PredictionLog, as TensorFlow Serving's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.core.tfrecords import read_records, write_record
from carrara.serving.contract import Predictor
from carrara.serving.protocols import examples, tensorflow_serving
from carrara.serving.protocols.calls import Asked
from carrara.serving.protocols.coercion import coerced
from carrara.serving.protocols.example_rows import with_columns
from carrara.serving.protocols.messages import message
from carrara.serving.requests import Request

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
