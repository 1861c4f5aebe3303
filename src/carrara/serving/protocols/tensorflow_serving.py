"""TensorFlow Serving's PredictionService and ModelService, but for Classify and its kin: `examples.py` has those."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from carrara.core.errors import NotFoundError, RequestError
from carrara.models.signature import Signature, TensorSpec
from carrara.serving.contract import Choice
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.calls import Asked, Method
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensors import STRING, Array, as_texts, from_tensor, to_tensor
from carrara.serving.protocols.types import TENSORFLOW_TYPES
from carrara.serving.requests import Answer, Request
from carrara.serving.slots import VersionStatus

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
HANDLE_RELOAD_CONFIG = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"

Reload = Callable[[Any], None]
"""Brings the server to a `ModelServerConfig`; ConfigurationError where it cannot be."""

_SIGNATURES = "signature_def"


def methods(manager: ModelManager, reload: Reload | None) -> dict[str, Method]:
    """The gRPC methods of this file; without a `reload` what is served is configured elsewhere."""

    def status(data: bytes) -> bytes:
        return encode_status(statuses(manager, decode_status(data)))

    def metadata(data: bytes) -> bytes:
        return encode_metadata(manager, data)

    def reloaded(data: bytes) -> bytes:
        return _reloaded(reload, data)

    return {
        PREDICT: predict,
        GET_MODEL_METADATA: metadata,
        GET_MODEL_STATUS: status,
        HANDLE_RELOAD_CONFIG: reloaded,
    }


def predict(data: bytes) -> Asked:
    return Asked((decode_predict(data),), lambda answers: encode_predict(answers[0]))


def decode_predict(data: bytes) -> Request:
    """A PredictRequest as a request; RequestError for bytes, tensors or names that make no sense."""
    return predict_request(parsed("tensorflow.serving.PredictRequest", data))


def predict_request(request: Any) -> Request:
    return Request(
        choice=choice_of(request.model_spec),
        signature_name=request.model_spec.signature_name,
        inputs={name: from_tensor(name, tensor) for name, tensor in request.inputs.items()},
        output_filter=tuple(request.output_filter),
    )


def encode_predict(answer: Answer) -> bytes:
    """An answer as a PredictResponse, which names the version that made it."""
    response = message("tensorflow.serving.PredictResponse")()
    write_spec(response.model_spec, answer)
    for name, array in answer.outputs.items():
        response.outputs[name].CopyFrom(to_tensor(array))
    return bytes(response.SerializeToString())


def decode_status(data: bytes) -> Choice:
    """What a GetModelStatusRequest asks about."""
    return choice_of(parsed("tensorflow.serving.GetModelStatusRequest", data).model_spec)


def statuses(manager: ModelManager, choice: Choice) -> list[VersionStatus]:
    """The states of an endpoint's versions; NotFoundError in TensorFlow Serving's words."""
    try:
        return manager.status(choice)
    except NotFoundError as error:
        which = "any versions" if choice.version is None else f"version {choice.version}"
        raise NotFoundError("status", f"{which} of model {choice.endpoint}", hint=error.hint) from error


def encode_status(found: list[VersionStatus]) -> bytes:
    response = message("tensorflow.serving.GetModelStatusResponse")()
    for one in found:
        entry = response.model_version_status.add(version=one.version, state=one.state)
        entry.status.error_code, entry.status.error_message = (2 if one.error else 0), one.error
    return bytes(response.SerializeToString())


def encode_metadata(manager: ModelManager, data: bytes) -> bytes:
    """The signatures of a version, as GetModelMetadata gives them."""
    request = parsed("tensorflow.serving.GetModelMetadataRequest", data)
    choice = choice_of(request.model_spec)
    if not request.metadata_field:
        raise RequestError("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != _SIGNATURES:
            raise RequestError(f"Metadata field {field} is not supported", field="metadata_field")
    response = message("tensorflow.serving.GetModelMetadataResponse")()
    with manager.acquire(choice) as predictor:
        response.model_spec.name, response.model_spec.version.value = choice.endpoint, predictor.version
        made = message("tensorflow.serving.SignatureDefMap")()
        for name, signature in predictor.signatures.items():
            _write_signature(made.signature_def[name], signature)
    response.metadata[_SIGNATURES].type_url = f"type.googleapis.com/{made.DESCRIPTOR.full_name}"
    response.metadata[_SIGNATURES].value = made.SerializeToString()
    return bytes(response.SerializeToString())


def _write_signature(made: Any, signature: Signature) -> None:
    made.method_name = signature.method
    for side in ("inputs", "outputs"):
        for spec in getattr(signature, side):
            _write_tensor_info(getattr(made, side)[spec.name], spec)


def _write_tensor_info(made: Any, spec: TensorSpec) -> None:
    made.name = spec.tensor or f"{spec.name}:0"
    made.dtype = TENSORFLOW_TYPES.get(spec.dtype, STRING)
    made.tensor_shape.unknown_rank = spec.shape is None
    for size in spec.shape or ():
        made.tensor_shape.dim.add().size = -1 if size is None else size


def _reloaded(reload: Reload | None, data: bytes) -> bytes:
    request = parsed("tensorflow.serving.ReloadConfigRequest", data)
    if reload is None:
        raise RequestError(
            "this server serves a workspace's deployments, and no list of models",
            hint="carrara deploy changes what it serves.",
        )
    reload(request.config)
    return bytes(message("tensorflow.serving.ReloadConfigResponse")().SerializeToString())


def encode_request(
    endpoint: str, inputs: Mapping[str, Array], signature_name: str = "", version: int | None = None
) -> bytes:
    """A PredictRequest, as a client writes it."""
    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = endpoint
    if version is not None:
        request.model_spec.version.value = version
    request.model_spec.signature_name = signature_name
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_tensor(array))
    return bytes(request.SerializeToString())


def decode_response(data: bytes) -> tuple[int, dict[str, Array]]:
    """The version and the outputs of a PredictResponse; texts as `str` where they are UTF-8."""
    response = parsed("tensorflow.serving.PredictResponse", data)
    outputs = {name: as_texts(from_tensor(name, tensor)) for name, tensor in response.outputs.items()}
    return response.model_spec.version.value, outputs


def parsed(name: str, data: bytes) -> Any:
    """A message from its bytes; RequestError where they are none."""
    try:
        return message(name).FromString(data)
    except DecodeError as error:
        raise RequestError(f"the bytes are not a {name}: {error}") from error


def choice_of(spec: Any) -> Choice:
    """The version that a ModelSpec names."""
    if not spec.name:
        raise RequestError("Missing ModelSpec", field="model_spec")
    return Choice(spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label)


def write_spec(spec: Any, answer: Answer) -> None:
    """Name the version that answered."""
    spec.name, spec.version.value, spec.signature_name = answer.endpoint, answer.version, answer.signature_name
