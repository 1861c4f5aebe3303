"""The Open Inference Protocol, version 2, over HTTP, with tensors as JSON or as bytes behind it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

import numpy as np

from carrara.core.errors import RequestError
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.blocks import parts_of
from carrara.serving.protocols.coercion import numbers_of
from carrara.serving.protocols.http import Asking, HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_columns import JsonColumns, is_columns
from carrara.serving.protocols.json_tensors import all_finite, decode_json, encode_json, from_array, to_array
from carrara.serving.protocols.open_inference import (
    EXTENSIONS,
    SERVER_NAME,
    SIGNATURE,
    TYPES,
    choice_of,
    datatype_of,
    from_raw,
    is_ready,
    metadata,
    server_version,
    to_raw,
)
from carrara.serving.protocols.problem import problem
from carrara.serving.protocols.tensors import Array, checked_shape
from carrara.serving.protocols.types import BYTES
from carrara.serving.requests import Answer, Request

HEADER_LENGTH = "inference-header-content-length"
OCTETS = "application/octet-stream"

_MODEL = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?"
_SIZE = "binary_data_size"
_FLOATS = ("FP32", "FP64")
_LARGEST = float(np.finfo(np.float32).max)
_FIELDS = 4
"""Name, type, shape and data; a tensor with parameters has more."""


def routes(manager: ModelManager) -> list[Route]:
    """The paths under /v2."""

    def server(request: HttpRequest, found: re.Match[str]) -> Reply:
        return json_reply({"name": SERVER_NAME, "version": server_version(), "extensions": list(EXTENSIONS)})

    def live(request: HttpRequest, found: re.Match[str]) -> Reply:
        return json_reply({"live": True})

    def ready(request: HttpRequest, found: re.Match[str]) -> Reply:
        answers = bool(manager.endpoints())
        return json_reply({"ready": answers}, 200 if answers else 503)

    def model(request: HttpRequest, found: re.Match[str]) -> Reply:
        return json_reply(metadata(manager, choice_of(unquote(found["name"]), found["version"] or "")))

    def model_ready(request: HttpRequest, found: re.Match[str]) -> Reply:
        name = unquote(found["name"])
        answers = is_ready(manager, choice_of(name, found["version"] or ""))
        return json_reply({"name": name, "ready": answers}, 200 if answers else 503)

    def infer(request: HttpRequest, found: re.Match[str]) -> Asking:
        asked = _asked(request)
        filters = tuple(output.name for output in asked.wanted.outputs)
        choice = choice_of(unquote(found["name"]), found["version"] or "")
        inference = Request(choice, asked.inputs, asked.signature_name, filters, api="ModelInfer")
        encode = partial(_reply, wanted=asked.wanted, identifier=asked.identifier)
        return Asking(inference, encode, asked.wanted, asked.identifier)

    paths: list[tuple[str, str, Callable[[HttpRequest, re.Match[str]], Reply | Asking]]] = [
        ("GET", r"/v2/?", server),
        ("GET", r"/v2/health/live", live),
        ("GET", r"/v2/health/ready", ready),
        ("GET", _MODEL, model),
        ("GET", f"{_MODEL}/ready", model_ready),
        ("POST", f"{_MODEL}/infer", infer),
    ]
    return [Route(method, re.compile(path), answer, problem) for method, path, answer in paths]


@dataclass(frozen=True)
class _Output:
    """A wanted output, as bytes or as JSON."""

    name: str
    binary: bool


@dataclass(frozen=True)
class _Wanted:
    """The outputs that a request names, and whether those that it does not are wanted as bytes."""

    outputs: tuple[_Output, ...]
    binary: bool

    def is_binary(self, name: str) -> bool:
        return next((one.binary for one in self.outputs if one.name == name), self.binary)

    def __call__(self, answer: Answer, identifiers: Sequence[str]) -> list[Reply]:
        """The replies to requests whose rows the answer has one after the other."""
        parts = zip(parts_of(answer, len(identifiers)), identifiers, strict=True)
        return [_reply(part, self, identifier) for part, identifier in parts]


@dataclass(frozen=True)
class _Asked:
    """An inference request as its body says it."""

    identifier: str
    signature_name: str
    inputs: Mapping[str, Array]
    wanted: _Wanted


def _asked(request: HttpRequest) -> _Asked:
    data, raw = _parts(request)
    parameters = as_mapping(data.get("parameters", {}), "'parameters'")
    binary = parameters.get("binary_data_output", False) is True
    outputs = tuple(_output(one, binary) for one in _listed(data.get("outputs", []), "outputs"))
    signature, identifier = parameters.get(SIGNATURE, ""), data.get("id", "")
    if not isinstance(signature, str) or not isinstance(identifier, str):
        raise RequestError(f"'id' and '{SIGNATURE}' must be strings")
    tensors = _listed(data.get("inputs"), "inputs")
    inputs = _columns(tensors) if not raw else None
    return _Asked(identifier, signature, inputs or _inputs(tensors, raw), _Wanted(outputs, binary))


def _parts(request: HttpRequest) -> tuple[Mapping[str, Any], bytes]:
    """The JSON of a request, and the bytes behind it."""
    given = request.headers.get(HEADER_LENGTH)
    if given is None:
        return as_mapping(decode_json(request.body), "the body"), b""
    text = str(given)
    if not (text.isascii() and text.isdecimal()) or len(text) > 12 or int(text) > len(request.body):
        raise RequestError(f"{HEADER_LENGTH} is '{text[:40]}', and the body has {len(request.body)} bytes")
    length = int(text)
    return as_mapping(decode_json(request.body[:length]), "the body"), request.body[length:]


def _listed(value: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RequestError(f"'{what}' must be a list of tensors", field=what)
    return value


def _output(tensor: Mapping[str, Any], binary: bool) -> _Output:
    parameters = as_mapping(tensor.get("parameters", {}), "'parameters'")
    if not isinstance(tensor.get("name"), str):
        raise RequestError("an output has no name", field="outputs")
    return _Output(tensor["name"], parameters.get("binary_data", binary) is True)


def _columns(tensors: Sequence[Mapping[str, Any]]) -> JsonColumns | None:
    """Inputs of one number a row, all of one type of floats; None where they are others, or something is wrong."""
    names, lists = [one.get("name") for one in tensors], [one.get("data") for one in tensors]
    if not is_columns(lists) or set(map(type, names)) != {str} or len(set(names)) < len(names):
        return None
    datatype, rows = tensors[0].get("datatype"), len(lists[0])
    if not all(len(one) == _FIELDS and one.get("datatype") == datatype and _is_column(one, rows) for one in tensors):
        return None
    # What is larger may be none of its type.
    if datatype not in _FLOATS or not (max(map(max, lists)) <= _LARGEST and min(map(min, lists)) >= -_LARGEST):
        return None
    return JsonColumns(dict(zip(map(str, names), lists, strict=True)), TYPES[datatype])


def _is_column(tensor: Mapping[str, Any], rows: int) -> bool:
    shape = tensor.get("shape")
    return shape == [rows] and type(shape[0]) is int


def _inputs(tensors: Sequence[Mapping[str, Any]], raw: bytes) -> dict[str, Array]:
    inputs: dict[str, Array] = {}
    start = 0
    for tensor in tensors:
        name, datatype = tensor.get("name"), tensor.get("datatype")
        if not isinstance(name, str) or not isinstance(datatype, str):
            raise RequestError("each input needs a 'name' and a 'datatype'", field="inputs")
        if name in inputs:
            raise RequestError(f"input '{name}' is given twice", field=name)
        if datatype not in TYPES and datatype != BYTES:
            raise RequestError(f"input '{name}' has the unknown datatype '{datatype}'", field=name)
        shape = _shape(name, tensor.get("shape"))
        size = as_mapping(tensor.get("parameters", {}), "'parameters'").get(_SIZE)
        if size is None and "data" not in tensor:
            raise RequestError(f"input '{name}' has no 'data', and no {_SIZE}", field=name)
        if size is None:
            inputs[name] = _from_json(name, datatype, shape, tensor.get("data"))
            continue
        if "data" in tensor:
            raise RequestError(f"input '{name}' has both data and {_SIZE}", field=name)
        if type(size) is not int or size < 0 or start + size > len(raw):
            raise RequestError(
                f"input '{name}' has the {_SIZE} {size}, and {len(raw) - start} bytes are left", field=name
            )
        inputs[name] = from_raw(name, datatype, shape, raw[start : start + size])
        start += size
    if start != len(raw):
        raise RequestError(f"{len(raw) - start} bytes behind the JSON belong to no input")
    return inputs


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise RequestError(f"input '{name}' needs a 'shape', a list of integers", field=name)
    return checked_shape(name, tuple(shape))


def _from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Array:
    """Flat or nested lists; the shape is what the tensor says."""
    array = to_array(name, data)
    if array.size != math.prod(shape):
        raise RequestError(
            f"input '{name}' has {array.size} values, and its shape needs {math.prod(shape)}", field=name
        )
    array = array.reshape(shape)
    return array if datatype == BYTES else numbers_of(name, array, datatype.lower(), TYPES[datatype])


def _reply(answer: Answer, wanted: _Wanted, identifier: str) -> Reply:
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, array in answer.outputs.items():
        output: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if wanted.is_binary(name):
            raw.append(to_raw(array)[1])
            output["parameters"] = {_SIZE: len(raw[-1])}
        else:
            output["data"] = from_array(name, array.ravel())
        outputs.append(output)
    data = {
        "model_name": answer.endpoint,
        "model_version": str(answer.version),
        **({"id": identifier} if identifier else {}),
        "parameters": {SIGNATURE: answer.signature_name},
        "outputs": outputs,
    }
    body = encode_json(data, finite=all(map(all_finite, answer.outputs.values())))
    if not raw:
        return Reply(200, body)
    return Reply(200, b"".join([body, *raw]), OCTETS, ((HEADER_LENGTH, str(len(body))),))
