"""The OpenAPI document of a server: what it serves now, with the types of each model's tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from carrara.models.signature import NUMPY_TYPES, Signature
from carrara.serving.contract import Choice
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.http import HttpRequest, Reply, Route, json_reply
from carrara.serving.protocols.open_inference import server_version
from carrara.serving.protocols.outcomes_rest import MOST_ROWS as MOST_OUTCOMES
from carrara.serving.protocols.problem import PROBLEM, problem
from carrara.serving.protocols.types import BYTES, OPEN_INFERENCE_TYPES

_JSON = "application/json"
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
    },
    "required": ["title", "status", "detail"],
}
_INFERRED = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "datatype": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "data": {"type": "array", "items": {}},
                },
                "required": ["name", "datatype", "shape", "data"],
            },
        },
    },
    "required": ["model_name", "outputs"],
}
_FAILURES = (400, 404, 408, 413, 429, 503, 504)


def routes(manager: ModelManager, *, of_workspace: bool = False) -> list[Route]:
    def answer(request: HttpRequest, found: re.Match[str]) -> Reply:
        return json_reply(document(manager, of_workspace=of_workspace))

    return [Route("GET", re.compile("/openapi.json"), answer, problem)]


def document(manager: ModelManager, *, of_workspace: bool = False) -> dict[str, Any]:
    """The paths of every endpoint that answers now, and of the server; a workspace's gives features, takes outcomes."""
    paths: dict[str, Any] = _server_paths() | (_features_path() | _endpoints_path() if of_workspace else {})
    for endpoint in filter(manager.serves, manager.endpoints()):
        with manager.acquire(Choice(endpoint)) as predictor:
            paths |= _model_paths(endpoint, predictor.signatures)
            paths |= _outcomes_path(predictor.model) if of_workspace else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Carrara's model server", "version": server_version()},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Problem": _PROBLEM}},
    }


def _server_paths() -> dict[str, Any]:
    status = {"type": "object"}
    return {
        "/v2": {
            "get": _operation(
                "server_metadata", "What the server is", {"type": "object", "required": ["name", "version"]}
            )
        },
        "/v2/health/live": {"get": _operation("server_live", "Whether it is alive", status)},
        "/v2/health/ready": {"get": _operation("server_ready", "Whether a model answers", status)},
        "/v2/repository/index": {
            "post": _operation(
                "repository_index",
                "Every model's versions and their states",
                {"type": "array", "items": {"type": "object", "required": ["name", "version", "state"]}},
                {"type": "object", "properties": {"ready": {"type": "boolean"}}},
            )
        },
        "/ping": {"get": _operation("ping", "Whether a model answers, as SageMaker asks it", status)},
    }


def _model_paths(endpoint: str, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    name = quote(endpoint, safe="")
    rows = [_rows_body(endpoint, signature, one) for one, signature in signatures.items()]
    infer = [_infer_body(endpoint, signature, one) for one, signature in signatures.items()]
    examples = {
        "type": "object",
        "properties": {"examples": {"type": "array", "items": {"type": "object"}, "minItems": 1}},
    }
    answers = {"type": "object"}
    states = {"type": "object", "required": ["model_version_status"]}
    tensors = {"type": "object", "required": ["name", "inputs", "outputs"]}
    v1, v2 = f"/v1/models/{name}", f"/v2/models/{name}"

    def rest(verb: str, summary: str, answer: Any, body: Any = None) -> dict[str, Any]:
        return _operation(f"{verb}_{endpoint}", summary, answer, body, problems=False)

    return {
        v1: {"get": rest("status", "The states of its versions", states)},
        f"{v1}/metadata": {"get": rest("metadata", "Its signatures", answers)},
        f"{v1}:predict": {"post": rest("predict", "Predict", _list_of("predictions"), {"anyOf": rows})},
        f"{v1}:classify": {"post": rest("classify", "Classes and scores of examples", _list_of("results"), examples)},
        f"{v1}:regress": {"post": rest("regress", "A number for each example", _list_of("results"), examples)},
        v2: {"get": _operation(f"tensors_{endpoint}", "Its tensors", tensors)},
        f"{v2}/ready": {"get": _operation(f"ready_{endpoint}", "Whether it answers", answers)},
        f"{v2}/infer": {"post": _operation(f"infer_{endpoint}", "Infer", _INFERRED, {"anyOf": infer})},
    }


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "array", "items": {}}}, "required": [name]}


def _features_path() -> dict[str, Any]:
    row = {"type": "object", "minProperties": 1}
    body = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer", "minimum": 1},
            "label": {"type": "string"},
            "features": {"type": "array", "items": {"type": "string"}},
            "entities": {"type": "array", "items": row, "minItems": 1},
        },
        "required": ["entities"],
        "anyOf": [{"required": ["model"]}, {"required": ["features"]}],
    }
    answer = {"type": "object", "required": ["features"]}
    return {
        "/v1/features:get": {"post": _operation("get_features", "The values of features for entities", answer, body)}
    }


def _endpoints_path() -> dict[str, Any]:
    answer = {"type": "array", "items": {"type": "object", "required": ["endpoint", "model", "version", "role"]}}
    return {
        "/v1/endpoints": {
            "get": _operation("list_endpoints", "What every endpoint serves, and what is tried on it", answer)
        }
    }


def _outcomes_path(model: str) -> dict[str, Any]:
    row = {
        "type": "object",
        "properties": {
            "prediction_id": {"type": "string"},
            "outcome": {"type": ["boolean", "number", "string"]},
            "event_time": {"type": "string", "format": "date-time"},
            "known_at": {"type": "string", "format": "date-time"},
        },
        "description": "By prediction_id, or by the entity keys and event_time; the outcome may have its label's name.",
    }
    body = {
        "type": "object",
        "properties": {"outcomes": {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_OUTCOMES}},
        "required": ["outcomes"],
    }
    answer = {"type": "object", "required": ["rows", "new", "repeated"], "additionalProperties": {"type": "integer"}}
    path = f"/v1/models/{quote(model, safe='')}:outcomes"
    return {path: {"post": _operation(f"tell_outcomes_{model}", "Tell what then happened", answer, body)}}


def _operation(name: str, summary: str, answer: Any, body: Any = None, *, problems: bool = True) -> dict[str, Any]:
    """An operation; a generated client calls its function by `name`."""
    told = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    failure = told if problems else {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    # What precedes a protocol answers with problems: a body that is too large or too slow.
    failures = {
        str(code): {
            "description": "An error",
            "content": told if code in (408, 413) else failure,
        }
        for code in _FAILURES
    }
    # Readiness is said by the status, with the same body.
    if body is None:
        failures["503"] = {"description": "Not ready", "content": {_JSON: {"schema": {"type": "object"}}, **failure}}
    made: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "The answer", "content": {_JSON: {"schema": answer}}}, **failures},
    }
    if body is not None:
        made["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return made


def _rows_body(endpoint: str, signature: Signature, name: str) -> dict[str, Any]:
    """A body in row format: one object a row."""
    row = {
        "type": "object",
        "properties": {spec.name: _value(spec.dtype, (spec.shape or (None,))[1:]) for spec in signature.inputs},
        "required": [spec.name for spec in signature.inputs if spec.dtype != "datetime"],
        "additionalProperties": False,
    }
    return {
        "title": f"rows {endpoint} {name}",
        "type": "object",
        "properties": {
            "instances": {"type": "array", "items": row, "minItems": 1},
            "signature_name": {"const": name},
        },
        "required": ["instances", "signature_name"],
        "additionalProperties": False,
    }


def _infer_body(endpoint: str, signature: Signature, name: str) -> dict[str, Any]:
    tensors = [
        {
            "type": "object",
            "properties": {
                "name": {"const": spec.name},
                "datatype": {"const": OPEN_INFERENCE_TYPES.get(spec.dtype, BYTES)},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "data": {"type": "array", "items": _value(spec.dtype, ())},
            },
            "required": ["name", "datatype", "shape", "data"],
        }
        for spec in signature.inputs
    ]
    return {
        "title": f"inference {endpoint} {name}",
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object", "properties": {"signature_name": {"const": name}}},
            "inputs": {"type": "array", "prefixItems": tensors, "items": False, "minItems": len(tensors)},
        },
        "required": ["inputs"],
    }


def _value(dtype: str, shape: tuple[int | None, ...]) -> dict[str, Any]:
    """The schema of a value, or of nested lists of them."""
    if shape:
        size = {} if shape[0] is None else {"minItems": shape[0], "maxItems": shape[0]}
        return {"type": "array", "items": _value(dtype, shape[1:]), **size}
    if dtype in ("string", "datetime"):
        return {"type": "string", **({"format": "date-time"} if dtype == "datetime" else {})}
    if dtype == "bytes":
        text = {"type": "string", "contentEncoding": "base64"}
        return {"type": "object", "properties": {"b64": text}, "required": ["b64"], "additionalProperties": False}
    if dtype == "bool":
        return {"type": "boolean"}
    if NUMPY_TYPES[dtype].kind in "iu":
        limits = np.iinfo(NUMPY_TYPES[dtype])
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return {"type": "number"}
