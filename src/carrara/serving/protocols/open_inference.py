"""The Open Inference Protocol, version 2, over gRPC: what KServe, Triton and MLServer answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np

from carrara.core.errors import CarraraError, NotFoundError, RequestError
from carrara.models.signature import DEFAULT_SIGNATURE, NUMPY_TYPES, TensorSpec
from carrara.serving.contract import Choice
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.calls import Asked, Method
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensorflow_serving import parsed
from carrara.serving.protocols.tensors import Array, as_bytes, checked_shape
from carrara.serving.protocols.types import BYTES, OPEN_INFERENCE_TYPES
from carrara.serving.requests import Answer, Request

_SERVICE = "/inference.GRPCInferenceService"
MODEL_INFER = f"{_SERVICE}/ModelInfer"
EXTENSIONS = ("binary_tensor_data", "model_repository")
SERVER_NAME = "carrara"
SIGNATURE = "signature_name"
"""The parameter of a request that names the signature."""

TYPES = {name: NUMPY_TYPES[own] for own, name in OPEN_INFERENCE_TYPES.items()}
"""How each of the protocol's types of numbers lies in memory; little-endian, row-major."""

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def methods(manager: ModelManager) -> dict[str, Method]:
    """The methods of GRPCInferenceService."""

    def live(data: bytes) -> bytes:
        return _encoded("ServerLiveResponse", live=True)

    def ready(data: bytes) -> bytes:
        return _encoded("ServerReadyResponse", ready=bool(manager.endpoints()))

    def model_ready(data: bytes) -> bytes:
        asked = parsed("inference.ModelReadyRequest", data)
        return _encoded("ModelReadyResponse", ready=is_ready(manager, choice_of(asked.name, asked.version)))

    def server_metadata(data: bytes) -> bytes:
        return _encoded(
            "ServerMetadataResponse", name=SERVER_NAME, version=server_version(), extensions=list(EXTENSIONS)
        )

    def model_metadata(data: bytes) -> bytes:
        asked = parsed("inference.ModelMetadataRequest", data)
        return _encoded("ModelMetadataResponse", **metadata(manager, choice_of(asked.name, asked.version)))

    return {
        f"{_SERVICE}/ServerLive": live,
        f"{_SERVICE}/ServerReady": ready,
        f"{_SERVICE}/ModelReady": model_ready,
        f"{_SERVICE}/ServerMetadata": server_metadata,
        f"{_SERVICE}/ModelMetadata": model_metadata,
        MODEL_INFER: infer,
    }


def infer(data: bytes) -> Asked:
    """A ModelInferRequest, answered with raw contents where it came with some, else with typed ones."""
    asked = parsed("inference.ModelInferRequest", data)
    raw = bool(asked.raw_input_contents)
    named = asked.parameters[SIGNATURE].string_param if SIGNATURE in asked.parameters else ""
    request = Request(
        choice=choice_of(asked.model_name, asked.model_version),
        inputs=_inputs(asked),
        signature_name=named,
        output_filter=tuple(output.name for output in asked.outputs),
        api="ModelInfer",
    )
    return Asked((request,), lambda answers: _response(answers[0], asked.id, raw))


def choice_of(name: str, version: str) -> Choice:
    """The version that is asked for: a number, or nothing for the newest; anything else is a label."""
    if not name:
        raise RequestError("the request names no model", field="model_name")
    if version.isdecimal() and version.isascii():
        return Choice(name, int(version))
    return Choice(name, None, version)


def is_ready(manager: ModelManager, choice: Choice) -> bool:
    """Whether a version answers now; NotFoundError where there is none such."""
    if manager.is_cold(choice.endpoint):
        # Who asks it waits until it is there; to be asked whether it would answer is not to be asked.
        return True
    try:
        with manager.acquire(choice):
            return True
    except NotFoundError:
        raise
    except CarraraError:
        return False


def metadata(manager: ModelManager, choice: Choice) -> dict[str, Any]:
    """A model's name, versions, platform, and the tensors of its default signature."""
    with manager.acquire(choice) as predictor:
        names = list(predictor.signatures)
        signature = predictor.signatures.get(DEFAULT_SIGNATURE) or predictor.signatures[names[0]]
    versions = [str(one.version) for one in manager.status(Choice(choice.endpoint)) if one.state == 30]
    return {
        "name": choice.endpoint,
        "versions": sorted(versions, key=int),
        "platform": SERVER_NAME,
        "inputs": _tensors(signature.inputs),
        "outputs": _tensors(signature.outputs),
        "properties": {"signatures": ",".join(names)},
    }


def server_version() -> str:
    return installed_version("carrara")


def _tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "datatype": OPEN_INFERENCE_TYPES.get(spec.dtype, BYTES),
            "shape": [-1 if size is None else size for size in spec.shape or ()],
        }
        for spec in specs
    ]


def _encoded(name: str, /, **fields: Any) -> bytes:
    return bytes(message(f"inference.{name}")(**fields).SerializeToString())


def _inputs(asked: Any) -> dict[str, Array]:
    raw = list(asked.raw_input_contents)
    if raw and len(raw) != len(asked.inputs):
        raise RequestError(f"there are {len(asked.inputs)} inputs and {len(raw)} raw contents")
    inputs: dict[str, Array] = {}
    for place, tensor in enumerate(asked.inputs):
        if tensor.name in inputs:
            raise RequestError(f"input '{tensor.name}' is given twice", field=tensor.name)
        shape = checked_shape(tensor.name, tuple(tensor.shape))
        typed = tensor.HasField("contents") and tensor.contents.ByteSize() > 0
        if raw and typed:
            raise RequestError(f"input '{tensor.name}' has both raw and typed contents", field=tensor.name)
        if raw:
            inputs[tensor.name] = from_raw(tensor.name, tensor.datatype, shape, raw[place])
        else:
            inputs[tensor.name] = _typed(tensor, shape)
    return inputs


def from_raw(name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> Array:
    """A tensor of its raw bytes; RequestError where they are not what type and shape need."""
    size = math.prod(shape)
    if datatype == BYTES:
        return _elements(name, data, size).reshape(shape)
    dtype = TYPES.get(datatype)
    if dtype is None:
        raise RequestError(f"input '{name}' has the unknown datatype '{datatype}'", field=name)
    if len(data) != size * dtype.itemsize:
        raise RequestError(
            f"input '{name}' has {len(data)} bytes, and {datatype} of its shape needs {size * dtype.itemsize}",
            field=name,
        )
    if datatype == "BOOL":
        dtype, data = np.dtype(bool), (np.frombuffer(data, np.uint8) != 0).tobytes()
    found: Array = np.frombuffer(data, dtype).reshape(shape)
    return found


def _elements(name: str, data: bytes, size: int) -> Array:
    """BYTES: each element a length and so many bytes."""
    found: list[bytes] = []
    start = 0
    while start < len(data) and len(found) < size:
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if start + 4 > len(data) or end > len(data):
            raise RequestError(f"element {len(found)} of input '{name}' is longer than what is left", field=name)
        found.append(data[start + 4 : end])
        start = end
    if start != len(data) or len(found) != size:
        raise RequestError(f"input '{name}' has not {size} elements of BYTES, as its shape says", field=name)
    made = np.empty(size, dtype=object)
    made[:] = found
    return made


def _typed(tensor: Any, shape: tuple[int, ...]) -> Array:
    name, datatype = tensor.name, tensor.datatype
    if datatype not in _CONTENTS:
        hint = "FP16 and BF16 have raw contents only." if datatype in TYPES else ""
        raise RequestError(f"input '{name}' has typed contents of '{datatype}'", field=name, hint=hint)
    for field, _ in tensor.contents.ListFields():
        if field.name != _CONTENTS[datatype]:
            raise RequestError(f"input '{name}' is {datatype} and has {field.name}", field=name)
    values = getattr(tensor.contents, _CONTENTS[datatype])
    if len(values) != math.prod(shape):
        raise RequestError(
            f"input '{name}' has {len(values)} values, and its shape needs {math.prod(shape)}", field=name
        )
    if datatype == BYTES:
        made = np.empty(len(values), dtype=object)
        made[:] = list(values)
        return made.reshape(shape)
    wide = np.array(values)
    narrow = wide.astype(TYPES[datatype])
    if not np.array_equal(wide, narrow, equal_nan=wide.dtype.kind == "f"):
        raise RequestError(f"input '{name}' has values that are no {datatype}", field=name)
    return narrow.reshape(shape)


def to_raw(array: Array) -> tuple[str, bytes]:
    """The protocol's type and raw bytes of an array."""
    datatype = datatype_of(array)
    if datatype == BYTES:
        elements = [as_bytes(value) for value in array.ravel()]
        return datatype, b"".join(len(one).to_bytes(4, "little") + one for one in elements)
    return datatype, array.astype(TYPES[datatype], copy=False).tobytes()


def datatype_of(array: Array) -> str:
    """The protocol's type of an array; RequestError for one that it has none for."""
    if array.dtype.kind in "OUSM":
        return BYTES
    found = next((name for name, dtype in TYPES.items() if dtype == array.dtype), None)
    if found is None:
        raise RequestError(f"the Open Inference Protocol has no type for {array.dtype}")
    return found


def _response(answer: Answer, identifier: str, raw: bool) -> bytes:
    response = message("inference.ModelInferResponse")(
        model_name=answer.endpoint, model_version=str(answer.version), id=identifier
    )
    response.parameters[SIGNATURE].string_param = answer.signature_name
    for name, array in answer.outputs.items():
        datatype = datatype_of(array)
        output = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        # FP16 and BF16 have no typed form; raw and typed are never mixed in one response.
        if raw or any(datatype_of(one) not in _CONTENTS for one in answer.outputs.values()):
            response.raw_output_contents.append(to_raw(array)[1])
        elif datatype == BYTES:
            output.contents.bytes_contents.extend(map(as_bytes, array.ravel()))
        else:
            getattr(output.contents, _CONTENTS[datatype]).extend(array.ravel().tolist())
    return bytes(response.SerializeToString())
