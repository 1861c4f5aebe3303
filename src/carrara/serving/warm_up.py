"""Requests that a version brings with it, run before it serves: TFRecords of PredictionLog, as TensorFlow Serving's."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.serving.contract import Predictor
from carrara.serving.protocols import examples, tensorflow_serving
from carrara.serving.protocols.calls import Asked
from carrara.serving.protocols.coercion import coerced
from carrara.serving.protocols.example_rows import with_columns
from carrara.serving.protocols.messages import message
from carrara.serving.requests import Request

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000

_HEADER = struct.Struct("<QI")
_CHECKSUM_BYTES = 4


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


def read_records(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file: each a length, its checksum, so many bytes, and theirs; DataError else."""
    start = 0
    while start < len(data):
        if start + _HEADER.size > len(data):
            raise DataError(f"the warm-up records end within a length, at byte {start}")
        length, checksum = _HEADER.unpack_from(data, start)
        if checksum != _masked(data[start : start + 8]):
            raise DataError(f"the warm-up records have no valid length at byte {start}")
        end = start + _HEADER.size + length
        if end + _CHECKSUM_BYTES > len(data):
            raise DataError(f"the warm-up records end within a record, at byte {start}")
        yield data[start + _HEADER.size : end]
        start = end + _CHECKSUM_BYTES


def write_record(data: bytes) -> bytes:
    """A record of a TFRecord file.

    >>> list(read_records(write_record(b"one") + write_record(b"two")))
    [b'one', b'two']
    """
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


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


def _masked(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, turned and moved."""
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = (checksum >> 8) ^ _table()[(checksum ^ byte) & 0xFF]
    checksum ^= 0xFFFFFFFF
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table
