"""TensorFlow Serving's own client, unchanged, against our server.

Its stubs are the published ones; they run in a process of their own, because they put TensorFlow's message names
into protobuf's process-wide pool.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from carrara.demo.server import ServerProcess

STUBS = Path(sys.prefix) / "stubs"
ROW = {"driver": ["d1", "d2"], "depot": ["p0", "p1"], "city": ["c0", "c1"], "distance": [80.0, 3.0]}
AT = 1_705_708_800_000_000  # 2024-01-20T00:00:00Z


def ask(port: int, **asked: object) -> dict[str, object]:
    assert STUBS.is_dir(), "make test installs TensorFlow Serving's client stubs; see scripts/tensorflow-serving-stubs"
    command = [sys.executable, str(Path(__file__).with_name("ask_with_real_stubs.py")), str(port), json.dumps(asked)]
    environment = {**os.environ, "PYTHONPATH": str(STUBS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def server(trained):
    process = ServerProcess(trained.root)
    yield process
    process.stop()


def test_predict_by_entity_keys_answers_as_in_process(server, trained):
    inputs = {**ROW, "event_time": [AT, AT]}
    answer = ask(server.grpc_port, model="late", inputs=inputs)
    entities = [dict(zip(ROW, row, strict=True)) for row in zip(*ROW.values(), strict=True)]
    expected = trained.predict("late", [{**entity, "event_time": "2024-01-20T00:00:00Z"} for entity in entities])
    assert answer["probability"] == pytest.approx(expected.rows["probability"].to_list(), abs=1e-7)
    assert (answer["name"], answer["version"], answer["signature"]) == ("late", 1, "entities")
    assert answer["states"] == [[1, 30]]


def test_predict_by_features_answers_with_the_default_signature(server, trained):
    record = trained.models.record("late@1")
    names = [tensor["name"] for tensor in record["signature"]["serving_default"]["inputs"]]
    answer = ask(server.grpc_port, model="late", version=1, inputs={name: [0.5] for name in names})
    assert answer["signature"] == "serving_default"
    assert 0 < answer["probability"][0] < 1


@pytest.mark.parametrize(
    ("asked", "code", "details"),
    [
        ({"model": "lat", "inputs": ROW}, "NOT_FOUND", "Servable not found for request: Latest(lat)"),
        ({"model": "late", "version": 7, "inputs": ROW}, "NOT_FOUND", "Specific(late, 7)"),
        ({"model": "late", "inputs": {"driver": ["d1"]}}, "INVALID_ARGUMENT", "'depot'"),
        ({"model": "late", "inputs": {**ROW, "distance": ["far", "near"]}}, "INVALID_ARGUMENT", "'distance'"),
    ],
)
def test_errors_have_tensorflow_servings_codes_and_words(server, asked, code, details):
    answer = ask(server.grpc_port, **asked)
    assert answer["code"] == code
    assert details in answer["details"]
