"""TensorFlow Serving's PredictionLog, a request and its answer: what request logs, warm-up and golden files hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensorflow_serving import (
    decode_response,
    encode_predict,
    encode_request,
    predict_request,
)
from carrara.serving.requests import Answer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LoggedCall:
    """A call of Predict: what was asked, which version answered, and what."""

    endpoint: str
    version: int
    signature_name: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def encode_log(call: LoggedCall, *, seconds: float = 0.0, share: float = 1.0) -> bytes:
    """The message of a call that was answered `seconds` after 1970, as a sample of so large a `share` of all calls."""
    made = message("tensorflow.serving.PredictionLog")()
    spec = made.log_metadata.model_spec
    spec.name, spec.version.value, spec.signature_name = call.endpoint, call.version, call.signature_name
    made.log_metadata.sampling_config.sampling_rate = share
    made.log_metadata.timestamp_secs = int(seconds)
    made.predict_log.request.ParseFromString(encode_request(call.endpoint, call.inputs, call.signature_name))
    answer = Answer(call.endpoint, call.version, call.signature_name, call.outputs)
    made.predict_log.response.ParseFromString(encode_predict(answer))
    return bytes(made.SerializeToString())


def decode_log(data: bytes) -> LoggedCall:
    """The call that a message holds; DataError where it is none of Predict, with its answer."""
    try:
        found = message("tensorflow.serving.PredictionLog").FromString(data)
        kind = found.WhichOneof("log_type")
        if kind != "predict_log" or not found.predict_log.response.outputs:
            raise DataError(f"it is a {kind or 'record of no kind'}, or has no answer")
        request = predict_request(found.predict_log.request)
        version, outputs = decode_response(found.predict_log.response.SerializeToString())
    except Exception as error:
        raise DataError(f"a record is no answered call of Predict: {error}") from error
    return LoggedCall(request.choice.endpoint, version, request.signature_name, request.inputs, outputs)
