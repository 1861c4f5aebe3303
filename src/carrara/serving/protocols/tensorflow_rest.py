"""TensorFlow Serving's REST API: status, metadata, predict, classify and regress."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from carrara.core.errors import RequestError
from carrara.models.signature import Signature
from carrara.serving.contract import Choice
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.coercion import UNNAMED
from carrara.serving.protocols.example_rows import EXAMPLES
from carrara.serving.protocols.examples import classes_of, values_of
from carrara.serving.protocols.http import Asking, HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_columns import JsonColumns, is_columns
from carrara.serving.protocols.json_rows import JsonRows
from carrara.serving.protocols.json_tensors import all_finite, decode_json, encode_json, from_array, is_base64, to_array
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.status import HTTP_STATUS, retry_headers, status_of
from carrara.serving.protocols.tensorflow_serving import statuses
from carrara.serving.protocols.tensors import STRING, Array, as_bytes
from carrara.serving.protocols.types import TENSORFLOW_TYPES
from carrara.serving.requests import Answer, Request
from carrara.serving.slots import VersionStatus

_WHICH = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_VERB = re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<verb>predict|classify|regress)", re.IGNORECASE)
_MODEL = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?", re.IGNORECASE)
_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
_MOST_DIGITS = 18


def routes(manager: ModelManager) -> list[Route]:
    """The paths under /v1/models."""
    verbs = {"predict": _predict, "classify": _classify, "regress": _regress}

    def post(request: HttpRequest, found: re.Match[str]) -> Asking:
        return verbs[found["verb"].lower()](choice_of(found), as_mapping(decode_json(request.body), "the body"))

    def get(request: HttpRequest, found: re.Match[str]) -> Reply:
        if not found["name"]:
            raise RequestError("Missing model name in request.")
        choice = choice_of(found)
        return json_reply(_metadata(manager, choice) if found["metadata"] else _status(statuses(manager, choice)))

    return [Route("POST", _VERB, post, failed), Route("GET", _MODEL, get, failed)]


def failed(error: Exception) -> Reply:
    """An error as TensorFlow Serving's REST API says it."""
    code, text = status_of(error)
    return json_reply({"error": text}, HTTP_STATUS[code], retry_headers(code))


def choice_of(found: re.Match[str]) -> Choice:
    """The version that a path names."""
    if found["version"] and len(found["version"]) > _MOST_DIGITS:
        raise RequestError(f"the version {found['version'][:30]} is no 64-bit number", field="version")
    return _choice(found["name"], found["version"], found["label"])


@lru_cache(maxsize=1024)
def _choice(name: str, version: str | None, label: str | None) -> Choice:
    return Choice(unquote(name), int(version) if version else None, unquote(label or ""))


class Predict(NamedTuple):
    """The body of a predict request; `row_format` says in which form the answer goes back."""

    inputs: Mapping[str, Array]
    signature_name: str
    output_filter: tuple[str, ...]
    row_format: bool


def _predict(choice: Choice, data: Mapping[str, Any]) -> Asking:
    parsed = predict_body(data)
    request = Request(choice, parsed.inputs, parsed.signature_name, parsed.output_filter)
    if parsed.row_format:
        return Asking(request, lambda answer: Reply(200, encode_outputs(answer, row_format=True)), _split_rows)
    return Asking(request, lambda answer: Reply(200, encode_outputs(answer, row_format=False)), _split_columns)


def _split_rows(answer: Answer, labels: Sequence[str]) -> list[Reply]:
    """The replies to requests in row format, whose rows the answer has one after the other."""
    parts, finite = _parts(answer, len(labels))
    return [Reply(200, encode_json({"predictions": _rows_of(part)}, finite=finite)) for part in parts]


def _split_columns(answer: Answer, labels: Sequence[str]) -> list[Reply]:
    """As `_split_rows`, in column format."""
    parts, finite = _parts(answer, len(labels))
    return [Reply(200, encode_json({"outputs": _unnamed(part)}, finite=finite)) for part in parts]


def _parts(answer: Answer, count: int) -> tuple[list[dict[str, Any]], bool]:
    """The outputs of each of `count` requests as lists, and whether JSON itself has all their numbers."""
    columns, finite = _written(answer)
    size = answer.rows // count
    starts = range(0, answer.rows, size)
    return [{name: column[at : at + size] for name, column in columns.items()} for at in starts], finite


def predict_body(data: Mapping[str, Any]) -> Predict:
    """A body in row or column format; RequestError names what is wrong with it."""
    if "instances" in data and "inputs" in data:
        raise RequestError("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" not in data and "inputs" not in data:
        raise RequestError("Missing 'inputs' or 'instances' key")
    wanted = data.get("output_filter", [])
    if not isinstance(wanted, list) or (wanted and not all(isinstance(one, str) for one in wanted)):
        raise RequestError("'output_filter' must be a list of strings", field="output_filter")
    rows = "instances" in data
    inputs = _rows(data["instances"]) if rows else _columns(data["inputs"])
    return Predict(inputs, _signature_name(data), tuple(wanted), rows)


def _signature_name(data: Mapping[str, Any]) -> str:
    name = data.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError("'signature_name' key must be a string value", field="signature_name")
    return name


def _rows(instances: Any) -> Mapping[str, Array]:
    if not isinstance(instances, list) or not instances:
        raise RequestError("'instances' must be a list with at least one row", field="instances")
    if not isinstance(instances[0], dict) or is_base64(instances[0]):
        return {UNNAMED: to_array("instances", instances)}
    names = instances[0].keys()
    for place, row in enumerate(instances[1:], 1):
        if not isinstance(row, dict) or row.keys() != names:
            raise RequestError(f"row {place} of 'instances' has other names than the first", field="instances")
    return JsonRows(tuple(names), instances)


def _columns(inputs: Any) -> Mapping[str, Array]:
    if not isinstance(inputs, dict) or is_base64(inputs):
        return {UNNAMED: to_array("inputs", inputs)}
    if is_columns(list(inputs.values())):
        return JsonColumns(inputs)
    return {name: to_array(name, column) for name, column in inputs.items()}


def encode_outputs(answer: Answer, *, row_format: bool) -> bytes:
    """The outputs of an answer: `predictions`, one a row, or `outputs`, one a name; a single one goes unnamed."""
    if row_format:
        _check_rows(answer.outputs)
    columns, finite = _written(answer)
    if row_format:
        return encode_json({"predictions": _rows_of(columns)}, finite=finite)
    return encode_json({"outputs": _unnamed(columns)}, finite=finite)


def _unnamed(columns: dict[str, Any]) -> Any:
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _written(answer: Answer) -> tuple[dict[str, Any], bool]:
    """The outputs as lists, and whether JSON itself has all their numbers."""
    columns = {name: from_array(name, array) for name, array in answer.outputs.items()}
    return columns, all(map(all_finite, answer.outputs.values()))


def _rows_of(columns: Mapping[str, Any]) -> list[Any]:
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _check_rows(outputs: Mapping[str, Array]) -> None:
    for name, array in outputs.items():
        if not array.ndim:
            raise RequestError(f"Tensor name: {name} has no shape information", hint="Ask in column format: 'inputs'.")
    if len({len(array) for array in outputs.values()}) > 1:
        sizes = ", ".join(f"{name} {len(array)}" for name, array in outputs.items())
        raise RequestError(f"Tensors have inconsistent batch sizes: {sizes}", hint="Ask in column format: 'inputs'.")


def _classify(choice: Choice, data: Mapping[str, Any]) -> Asking:
    def encode(answer: Answer) -> Reply:
        rows = classes_of(answer.outputs).rows()
        return _results([[list(pair) for pair in row] for row in rows], [score for row in rows for _, score in row])

    return Asking(_examples_request(choice, data), encode)


def _regress(choice: Choice, data: Mapping[str, Any]) -> Asking:
    def encode(answer: Answer) -> Reply:
        values = values_of(answer.outputs)
        return _results(values, values)

    return Asking(_examples_request(choice, data), encode)


def _results(results: Any, numbers: Sequence[float]) -> Reply:
    return Reply(200, encode_json({"results": results}, finite=bool(np.isfinite(numbers).all())))


def _examples_request(choice: Choice, data: Mapping[str, Any]) -> Request:
    examples, context = data.get("examples"), as_mapping(data.get("context", {}), "'context'")
    if not isinstance(examples, list) or not examples:
        raise RequestError("'examples' must be a list with at least one example", field="examples")
    rows = np.empty(len(examples), dtype=object)
    rows[:] = [_example({**context, **as_mapping(one, "an example")}) for one in examples]
    return Request(choice, {EXAMPLES: rows}, _signature_name(data))


def _example(features: Mapping[str, Any]) -> bytes:
    made = message("tensorflow.Example")()
    for name, value in features.items():
        flat = list(to_array(name, value).ravel())
        feature = made.features.feature[name]
        types = set(map(type, flat))
        if types and types <= {str, bytes}:
            feature.bytes_list.value.extend(map(as_bytes, flat))
        elif types == {int} and all(-(2**63) <= one < 2**63 for one in flat):
            feature.int64_list.value.extend(flat)
        elif types and types <= {int, float}:
            feature.float_list.value.extend(float(one) for one in flat)
        elif types:
            raise RequestError(f"the feature '{name}' has values that are no numbers or texts", field=name)
    return bytes(made.SerializeToString())


def _status(found: Sequence[VersionStatus]) -> dict[str, Any]:
    return {
        "model_version_status": [
            {
                "version": str(one.version),
                "state": _STATES[one.state],
                "status": {"error_code": "UNKNOWN" if one.error else "OK", "error_message": one.error},
            }
            for one in found
        ]
    }


def _metadata(manager: ModelManager, choice: Choice) -> dict[str, Any]:
    with manager.acquire(choice) as predictor:
        signatures = {name: _signature(one) for name, one in predictor.signatures.items()}
        spec = {"name": choice.endpoint, "signature_name": "", "version": str(predictor.version)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}


def _signature(signature: Signature) -> dict[str, Any]:
    names = message("tensorflow.TensorInfo").DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number
    sides = {
        side: {
            spec.name: {
                "dtype": names[TENSORFLOW_TYPES.get(spec.dtype, STRING)].name,
                "tensor_shape": {
                    "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape or ()],
                    "unknown_rank": spec.shape is None,
                },
                "name": spec.tensor or f"{spec.name}:0",
            }
            for spec in getattr(signature, side)
        }
        for side in ("inputs", "outputs")
    }
    return {**sides, "method_name": signature.method, "defaults": {}}
