"""TensorFlow Serving's REST API, and health: paths and JSON bodies as requests, answers as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec
import numpy as np

from carrara.core.errors import RequestError
from carrara.serving.contract import Choice
from carrara.serving.inference import Answer, Inference, Request
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.status import HTTP_STATUS, status_of
from carrara.serving.slots import VersionStatus

Array = np.ndarray[Any, Any]

_MODEL = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<verb>:predict|)",
    re.IGNORECASE,
)
_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
_EMPTY = b"{}"


@dataclass(frozen=True)
class Reply:
    """An HTTP reply with a JSON body."""

    status: int
    body: bytes


@dataclass(frozen=True)
class _Body:
    """The parsed body of a predict request; `row_format` says in which form the answer goes back."""

    inputs: dict[str, Array]
    signature_name: str
    row_format: bool


class Rest:
    """Routes a method, a path and a body to a reply."""

    def __init__(self, inference: Inference, manager: ModelManager) -> None:
        self._inference, self._manager = inference, manager

    def reply(self, method: str, path: str, body: bytes) -> Reply:
        """The reply to a request; never raises."""
        try:
            return self._route(method, path, body)
        except Exception as error:
            return failed(error)

    def _route(self, method: str, path: str, body: bytes) -> Reply:
        if method == "GET" and path == "/v2/health/live":
            return Reply(200, _EMPTY)
        if method == "GET" and path == "/v2/health/ready":
            return Reply(200 if self._manager.endpoints() else 503, _EMPTY)
        found = _MODEL.fullmatch(path)
        if found is None or (method == "POST") != bool(found["verb"]):
            raise RequestError(f"Malformed request: {method} {path}")
        version = int(found["version"]) if found["version"] else None
        choice = Choice(unquote(found["name"]), version, unquote(found["label"] or ""))
        if method != "POST":
            return Reply(200, _status(self._manager.status(choice)))
        return self._predict(choice, body)

    def _predict(self, choice: Choice, body: bytes) -> Reply:
        parsed = _parsed(body)
        request = Request(choice, parsed.inputs, parsed.signature_name)
        answer = self._inference.answer_all([request])[0]
        if isinstance(answer, Exception):
            return failed(answer)
        return Reply(200, _encoded(answer, parsed.row_format))


def failed(error: Exception) -> Reply:
    """An error as TensorFlow Serving's REST API says it."""
    code, text = status_of(error)
    return Reply(HTTP_STATUS[code], msgspec.json.encode({"error": text}))


def _parsed(body: bytes) -> _Body:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(f"JSON Parse error: {error}") from error
    if not isinstance(data, dict) or ("instances" in data) == ("inputs" in data):
        raise RequestError("the body must be an object with either 'instances' or 'inputs'")
    signature = data.get("signature_name", "")
    if not isinstance(signature, str):
        raise RequestError("'signature_name' must be a string", field="signature_name")
    if "instances" in data:
        return _Body(_rows(data["instances"]), signature, row_format=True)
    return _Body(_columns(data["inputs"]), signature, row_format=False)


def _rows(instances: Any) -> dict[str, Array]:
    if not isinstance(instances, list) or not instances or not all(isinstance(row, dict) for row in instances):
        raise RequestError("'instances' must be a list of objects, one a row", field="instances")
    names = list(instances[0])
    for place, row in enumerate(instances):
        if row.keys() != instances[0].keys():
            raise RequestError(f"row {place} of 'instances' has other names than the first", field="instances")
    return {name: _array([row[name] for row in instances]) for name in names}


def _columns(inputs: Any) -> dict[str, Array]:
    if not isinstance(inputs, dict) or not all(isinstance(column, list) for column in inputs.values()):
        raise RequestError("'inputs' must be an object of lists, one a column", field="inputs")
    return {name: _array(column) for name, column in inputs.items()}


def _array(values: list[Any]) -> Array:
    """One dimension of scalars; what type they should have is the signature's to say."""
    if any(isinstance(value, list | dict) for value in values):
        raise RequestError("nested values are not taken: give one value a row and name")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _encoded(answer: Answer, row_format: bool) -> bytes:
    columns = {name: _plain(array) for name, array in answer.outputs.items()}
    single = next(iter(columns.values())) if len(columns) == 1 else None
    if not row_format:
        return msgspec.json.encode({"outputs": single if single is not None else columns})
    if single is not None:
        return msgspec.json.encode({"predictions": single})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return msgspec.json.encode({"predictions": rows})


def _plain(array: Array) -> list[Any]:
    """Floats go through their own shortest text: 0.1 as float32 is 0.1, not 0.10000000149."""
    if array.dtype == np.float32:
        array = np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape)
    plain: list[Any] = array.tolist()
    return plain


def _status(found: list[VersionStatus]) -> bytes:
    return msgspec.json.encode(
        {
            "model_version_status": [
                {
                    "version": str(one.version),
                    "state": _STATES[one.state],
                    "status": {"error_code": "UNKNOWN" if one.error else "OK", "error_message": one.error},
                }
                for one in found
            ]
        }
    )
