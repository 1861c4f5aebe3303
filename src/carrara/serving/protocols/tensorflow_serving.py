"""TensorFlow Serving's gRPC messages: Predict and GetModelStatus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from carrara.core.errors import RequestError
from carrara.serving.contract import Choice
from carrara.serving.inference import Answer, Request
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensors import Array, from_tensor, to_tensor
from carrara.serving.slots import VersionStatus

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"


def decode_predict(data: bytes) -> Request:
    """A PredictRequest as a request; RequestError for bytes, tensors or names that make no sense."""
    parsed = _parsed("tensorflow.serving.PredictRequest", data)
    return Request(
        choice=_choice(parsed),
        signature_name=parsed.model_spec.signature_name,
        inputs={name: from_tensor(name, tensor) for name, tensor in parsed.inputs.items()},
        output_filter=tuple(parsed.output_filter),
    )


def encode_predict(answer: Answer) -> bytes:
    """An answer as a PredictResponse, which names the version that made it."""
    response = message("tensorflow.serving.PredictResponse")()
    response.model_spec.name = answer.endpoint
    response.model_spec.version.value = answer.version
    response.model_spec.signature_name = answer.signature_name
    for name, array in answer.outputs.items():
        response.outputs[name].CopyFrom(to_tensor(array))
    return bytes(response.SerializeToString())


def decode_status(data: bytes) -> Choice:
    """What a GetModelStatusRequest asks about."""
    return _choice(_parsed("tensorflow.serving.GetModelStatusRequest", data))


def encode_status(found: list[VersionStatus]) -> bytes:
    response = message("tensorflow.serving.GetModelStatusResponse")()
    for one in found:
        entry = response.model_version_status.add(version=one.version, state=one.state)
        entry.status.error_code, entry.status.error_message = (2 if one.error else 0), one.error
    return bytes(response.SerializeToString())


def encode_request(endpoint: str, inputs: Mapping[str, Array], signature_name: str = "") -> bytes:
    """A PredictRequest, as a client writes it."""
    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = endpoint
    request.model_spec.signature_name = signature_name
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_tensor(array))
    return bytes(request.SerializeToString())


def decode_response(data: bytes) -> tuple[int, dict[str, Array]]:
    """The version and the outputs of a PredictResponse."""
    response = _parsed("tensorflow.serving.PredictResponse", data)
    outputs = {name: from_tensor(name, tensor) for name, tensor in response.outputs.items()}
    return response.model_spec.version.value, outputs


def _parsed(name: str, data: bytes) -> Any:
    try:
        return message(name).FromString(data)
    except DecodeError as error:
        raise RequestError(f"the bytes are not a {name}: {error}") from error


def _choice(parsed: Any) -> Choice:
    spec = parsed.model_spec
    if not spec.name:
        raise RequestError("Missing ModelSpec", field="model_spec")
    return Choice(spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label)
