"""TensorFlow Serving's own client, unchanged, against the server of a workspace."""

from __future__ import annotations

import base64
import shutil

import pytest
from real_stubs import content

from carrara.demo.server import ServerProcess
from carrara.workspace.workspace import Workspace

ROW = {"driver": ["d1", "d2"], "depot": ["p0", "p1"], "city": ["c0", "c1"], "distance": [80.0, 3.0]}
AT = 1_705_708_800_000_000  # 2024-01-20T00:00:00Z
FIELDS = {str: ("DT_STRING", "string_val"), float: ("DT_FLOAT", "float_val"), int: ("DT_INT64", "int64_val")}


@pytest.fixture(scope="module")
def served(_trained_folder, tmp_path_factory):
    """A workspace with `late@1` deployed, and a server of it."""
    folder = tmp_path_factory.mktemp("served") / "ws"
    shutil.copytree(_trained_folder, folder)
    process = ServerProcess(folder)
    with Workspace(folder) as workspace:
        yield workspace, process.grpc_port
    process.stop()


def predict(inputs: dict, model: str = "late", **spec: int) -> tuple[str, dict]:
    return "Predict", {"model_spec": {"name": model, **spec}, "inputs": {name: tensor(inputs[name]) for name in inputs}}


def tensor(values: list) -> dict:
    dtype, field = FIELDS[type(values[0])]
    told = [base64.b64encode(value.encode()).decode() if isinstance(value, str) else value for value in values]
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": len(values)}]}, field: told}


def test_predict_by_entity_keys_answers_as_in_process(stubs, served):
    workspace, port = served
    status = "GetModelStatus", {"model_spec": {"name": "late"}}
    answer, states = stubs.ask(port, predict({**ROW, "event_time": [AT, AT]}), status)
    entities = [dict(zip(ROW, row, strict=True)) for row in zip(*ROW.values(), strict=True)]
    expected = workspace.predict("late", [{**entity, "event_time": "2024-01-20T00:00:00Z"} for entity in entities])
    found = content(answer["outputs"]["probability"])
    assert found == pytest.approx(expected.rows["probability"].to_list(), abs=1e-7)
    assert answer["model_spec"] == {"name": "late", "version": "1", "signature_name": "entities"}
    assert [(one["version"], one["state"]) for one in states["model_version_status"]] == [("1", "AVAILABLE")]


def test_predict_by_features_answers_with_the_default_signature(stubs, served):
    workspace, port = served
    record = workspace.models.record("late@1")
    names = [tensor["name"] for tensor in record["signature"]["serving_default"]["inputs"]]
    (answer,) = stubs.ask(port, predict({name: [0.5] for name in names}, version=1))
    assert answer["model_spec"]["signature_name"] == "serving_default"
    assert 0 < content(answer["outputs"]["probability"])[0] < 1


@pytest.mark.parametrize(
    ("asked", "code", "details"),
    [
        (predict(ROW, "lat"), "NOT_FOUND", "Servable not found for request: Latest(lat)"),
        (predict(ROW, version=7), "NOT_FOUND", "Specific(late, 7)"),
        (predict({"driver": ["d1"]}), "INVALID_ARGUMENT", "'depot'"),
        (predict({**ROW, "distance": ["far", "near"]}), "INVALID_ARGUMENT", "'distance'"),
    ],
)
def test_errors_have_tensorflow_servings_codes_and_words(stubs, served, asked, code, details):
    (answer,) = stubs.ask(served[1], asked)
    assert answer["code"] == code
    assert details in answer["details"]
