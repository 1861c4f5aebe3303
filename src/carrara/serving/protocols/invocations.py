"""What MLflow's and SageMaker's containers answer: /invocations, /ping, /health and /version."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

from carrara.core.errors import RequestError
from carrara.serving.contract import Choice
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.http import Asking, HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_tensors import decode_json, to_array
from carrara.serving.protocols.open_inference import server_version
from carrara.serving.protocols.problem import problem
from carrara.serving.protocols.tensorflow_rest import encode_outputs, predict_body
from carrara.serving.protocols.tensors import Array
from carrara.serving.requests import Request

_TARGET = "x-amzn-sagemaker-target-model"


def routes(manager: ModelManager) -> list[Route]:
    """The paths of a container that serves one model; of several, `?model=` or SageMaker's header names one."""

    def invoke(request: HttpRequest, found: re.Match[str]) -> Asking:
        choice = Choice(_model(request, manager))
        inputs, signature = _inputs(request)
        asked = Request(choice, inputs, signature)
        return Asking(asked, lambda answer: Reply(200, encode_outputs(answer, row_format=True)))

    def ping(request: HttpRequest, found: re.Match[str]) -> Reply:
        return json_reply({}, 200 if manager.endpoints() else 503)

    def version(request: HttpRequest, found: re.Match[str]) -> Reply:
        return Reply(200, server_version().encode(), "text/plain")

    paths: list[tuple[str, str, Callable[[HttpRequest, re.Match[str]], Reply | Asking]]] = [
        ("POST", "/invocations", invoke),
        ("GET", "/ping", ping),
        ("GET", "/health", ping),
        ("GET", "/version", version),
    ]
    return [Route(method, re.compile(path), answer, problem) for method, path, answer in paths]


def _model(request: HttpRequest, manager: ModelManager) -> str:
    named = request.argument("model") or str(request.headers.get(_TARGET, "") or "")
    endpoints = manager.endpoints()
    if not named and len(endpoints) > 1:
        raise RequestError(
            "several models are served, and the request names none",
            field="model",
            hint=f"Ask /invocations?model=NAME: {', '.join(endpoints)}.",
        )
    return named or (endpoints[0] if endpoints else "default")


def _inputs(request: HttpRequest) -> tuple[Mapping[str, Array], str]:
    kind = str(request.headers.get("content-type", "") or "application/json").split(";")[0].strip().lower()
    if kind == "text/csv":
        return _of_csv(request.body), ""
    if kind not in ("application/json", ""):
        raise RequestError(f"the content type '{kind}' is not taken", hint="Send application/json or text/csv.")
    data = as_mapping(decode_json(request.body), "the body")
    if "dataframe_split" in data:
        return _of_split(as_mapping(data["dataframe_split"], "'dataframe_split'")), ""
    if "dataframe_records" in data:
        data = {"instances": data["dataframe_records"]}
    body = predict_body(data)
    return body.inputs, body.signature_name


def _of_split(data: Mapping[str, Any]) -> dict[str, Array]:
    columns, rows = data.get("columns"), data.get("data")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns) or not columns:
        raise RequestError("'dataframe_split' needs 'columns', a list of names", field="columns")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise RequestError("'dataframe_split' needs 'data', a list of rows", field="data")
    for place, row in enumerate(rows):
        if len(row) != len(columns):
            raise RequestError(f"row {place} has {len(row)} values, and there are {len(columns)} columns", field="data")
    return {name: to_array(name, [row[place] for row in rows]) for place, name in enumerate(columns)}


def _of_csv(body: bytes) -> dict[str, Array]:
    """A table with a line of names; what is written as a number is one, and an empty field is missing."""
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"the body is not CSV in UTF-8: {error}") from error
    if len(rows) < 2:
        raise RequestError("the CSV needs a line of names and at least one row")
    return _of_split({"columns": rows[0], "data": [[_value(text) for text in row] for row in rows[1:]]})


def _value(text: str) -> Any:
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
