"""Requests over HTTP that look alike are one run, and each is answered as if it had come alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from carrara.core.named_columns import as_matrix
from carrara.models.signature import Signature, TensorSpec
from carrara.serving.contract import Endpoint, Target
from carrara.serving.folder_predictor import FolderPredictor
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import open_inference_rest, tensorflow_rest
from carrara.serving.protocols.http import HttpRequest, Reply
from carrara.serving.protocols.rest import Rest

PREDICT, INFER = "/v1/models/adding:predict", "/v2/models/adding/infer"
PAIRS = [(0.1, 2), (1, -3.5), (16_777_217, 0.25)]


class Adding:
    """Adds two columns, and tells how many rows each run had."""

    signature = Signature(
        (TensorSpec("a", "float32"), TensorSpec("b", "float32")),
        (TensorSpec("sum", "float32"), TensorSpec("a", "float32")),
    )

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        matrix = as_matrix(inputs, ("a", "b"), np.dtype("float32"))
        self.runs.append(len(matrix))
        return {"sum": matrix.sum(axis=1), "a": matrix[:, 0]}

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


class Served:
    def __init__(self) -> None:
        self.model, target = Adding(), Target("adding", "adding", 1)
        self.manager = ModelManager(
            lambda: [Endpoint("adding", (target,))], lambda one: FolderPredictor(one, {"serving_default": self.model})
        )
        self.manager.reconcile()
        routes = [*tensorflow_rest.routes(self.manager), *open_inference_rest.routes(self.manager)]
        self._rest = Rest(Inference(self.manager), self.manager, routes, told=False)

    def ask(self, path: str, *bodies: Any) -> list[Reply]:
        self.model.runs.clear()
        return self._rest.reply_all([HttpRequest("POST", path, json.dumps(body).encode()) for body in bodies])


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.manager.stop()


def rows(a: float, b: float) -> dict[str, Any]:
    return {"instances": [{"a": a, "b": b}]}


def columns(a: float, b: float) -> dict[str, Any]:
    return {"inputs": {"a": [a], "b": [b]}}


def tensors(a: float, b: float, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    made = [{"name": name, "datatype": datatype, "shape": [1], "data": [value]} for name, value in (("a", a), ("b", b))]
    return {"inputs": made, **more}


def tensors_of_two_rows(a: float, b: float) -> dict[str, Any]:
    made = [{"name": n, "datatype": "FP64", "shape": [2], "data": [v, 1.5]} for n, v in (("a", a), ("b", b))]
    return {"inputs": made, "outputs": [{"name": "sum"}]}


def whole(a: float, b: float) -> dict[str, Any]:
    return tensors(4, 5, "INT64")


@pytest.mark.parametrize(
    ("path", "body"),
    [(PREDICT, rows), (PREDICT, columns), (INFER, tensors), (INFER, tensors_of_two_rows), (INFER, whole)],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_requests_that_come_together_are_one_run_and_answered_as_alone(served: Served, path: str, body: Any) -> None:
    bodies = [body(*pair) for pair in PAIRS]
    alone = [served.ask(path, one)[0] for one in bodies]
    together = served.ask(path, *bodies)
    assert len(served.model.runs) == 1
    assert [reply.status for reply in alone] == [200] * len(PAIRS)
    assert together == alone


def test_each_request_of_the_open_inference_protocol_is_answered_by_its_own_name(served: Served) -> None:
    replies = served.ask(INFER, tensors(1, 2, id="first"), tensors(3, 4), tensors(5, 6, id="third"))
    assert served.model.runs == [3]
    assert [json.loads(reply.body).get("id") for reply in replies] == ["first", None, "third"]
    assert [json.loads(reply.body)["outputs"][0]["data"] for reply in replies] == [[3], [7], [11]]


def test_who_wants_bytes_is_answered_in_bytes_beside_who_does_not(served: Served) -> None:
    as_bytes = tensors(1, 2, parameters={"binary_data_output": True})
    replies = served.ask(INFER, as_bytes, tensors(1, 2), as_bytes, tensors(1, 2))
    assert [reply.content_type for reply in replies] == ["application/octet-stream", "application/json"] * 2


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (PREDICT, columns("x", 1), "a"),
        (PREDICT, columns(1, 1e39), "b"),
        (PREDICT, rows(1, -1e39), "b"),
        (INFER, tensors(1, 1e39), "b"),
        (INFER, tensors("x", 1), "a"),
    ],
)
def test_a_wrong_value_fails_alone_and_is_named(served: Served, path: str, body: Any, field: str) -> None:
    make = {"instances": rows, "inputs": columns}[next(iter(body))] if path == PREDICT else tensors
    first, wrong, last = served.ask(path, make(1, 2), body, make(3, 4))
    assert (first, last) == tuple(served.ask(path, make(1, 2), make(3, 4)))
    assert wrong.status == 400
    assert f"'{field}'" in json.loads(wrong.body)["error" if path == PREDICT else "detail"]


@pytest.mark.parametrize(
    "change",
    [{"shape": [True]}, {"shape": [1.0]}, {"shape": None}, {"data": [1, 2]}, {"name": "b"}, {"name": 1}],
)
def test_a_tensor_that_is_none_is_refused(served: Served, change: dict[str, Any]) -> None:
    body = tensors(1, 2)
    body["inputs"][0] |= change
    assert served.ask(INFER, body)[0].status == 400


def test_a_tensor_that_lacks_a_part_is_refused(served: Served) -> None:
    for part in ("name", "datatype", "shape", "data"):
        body = tensors(1, 2)
        del body["inputs"][0][part]
        assert served.ask(INFER, body)[0].status == 400
        body["inputs"][0]["parameters"] = {}
        assert served.ask(INFER, body)[0].status == 400
