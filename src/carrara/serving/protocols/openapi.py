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
    }


def _server_paths() -> dict[str, Any]:
    status = {"type": "object"}
    return {
        "/v2": {"get": _operation("What the server is", {"type": "object", "required": ["name", "version"]})},
        "/v2/health/live": {"get": _operation("Whether it is alive", status)},
        "/v2/health/ready": {"get": _operation("Whether a model answers", status)},
        "/v2/repository/index": {
            "post": _operation(
                "Every model's versions and their states",
                {"type": "array", "items": {"type": "object", "required": ["name", "version", "state"]}},
                {"type": "object", "properties": {"ready": {"type": "boolean"}}},
            )
        },
        "/ping": {"get": _operation("Whether a model answers, as SageMaker asks it", status)},
    }


def _model_paths(endpoint: str, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    name = quote(endpoint, safe="")
    rows = [_rows_body(signature, one) for one, signature in signatures.items()]
    infer = [_infer_body(signature, one) for one, signature in signatures.items()]
    examples = {
        "type": "object",
        "properties": {"examples": {"type": "array", "items": {"type": "object"}, "minItems": 1}},
    }
    answers = {"type": "object"}
    states = {"type": "object", "required": ["model_version_status"]}
    v1, v2 = f"/v1/models/{name}", f"/v2/models/{name}"
    return {
        v1: {"get": _operation("The states of its versions", states, problems=False)},
        f"{v1}/metadata": {"get": _operation("Its signatures", answers, problems=False)},
        f"{v1}:predict": {"post": _operation("Predict", answers, {"anyOf": rows}, problems=False)},
        f"{v1}:classify": {"post": _operation("Classes and scores of examples", answers, examples, problems=False)},
        f"{v1}:regress": {"post": _operation("A number for each example", answers, examples, problems=False)},
        v2: {"get": _operation("Its tensors", {"type": "object", "required": ["name", "inputs", "outputs"]})},
        f"{v2}/ready": {"get": _operation("Whether it answers", answers)},
        f"{v2}/infer": {"post": _operation("Infer", {"type": "object", "required": ["outputs"]}, {"anyOf": infer})},
    }


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
    return {"/v1/features:get": {"post": _operation("The values of features for entities", answer, body)}}


def _endpoints_path() -> dict[str, Any]:
    answer = {"type": "array", "items": {"type": "object", "required": ["endpoint", "model", "version", "role"]}}
    return {"/v1/endpoints": {"get": _operation("What every endpoint serves, and what is tried on it", answer)}}


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
    return {path: {"post": _operation("Tell what then happened", answer, body)}}


def _operation(summary: str, answer: Any, body: Any = None, *, problems: bool = True) -> dict[str, Any]:
    failure = {PROBLEM: {"schema": _PROBLEM}} if problems else {_JSON: {"schema": _ERROR}}
    # What precedes a protocol answers with problems: a body that is too large or too slow.
    failures = {
        str(code): {
            "description": "An error",
            "content": {PROBLEM: {"schema": _PROBLEM}} if code in (408, 413) else failure,
        }
        for code in _FAILURES
    }
    # Readiness is said by the status, with the same body.
    if body is None:
        failures["503"] = {"description": "Not ready", "content": {_JSON: {"schema": {"type": "object"}}, **failure}}
    made: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "The answer", "content": {_JSON: {"schema": answer}}}, **failures},
    }
    if body is not None:
        made["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return made


def _rows_body(signature: Signature, name: str) -> dict[str, Any]:
    """A body in row format: one object a row."""
    row = {
        "type": "object",
        "properties": {spec.name: _value(spec.dtype, (spec.shape or (None,))[1:]) for spec in signature.inputs},
        "required": [spec.name for spec in signature.inputs if spec.dtype != "datetime"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "instances": {"type": "array", "items": row, "minItems": 1},
            "signature_name": {"const": name},
        },
        "required": ["instances", "signature_name"],
        "additionalProperties": False,
    }


def _infer_body(signature: Signature, name: str) -> dict[str, Any]:
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
