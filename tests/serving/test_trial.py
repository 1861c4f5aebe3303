"""Safe to serve, for real: another process serves the artifact over gRPC; what crashes, hangs or lies is refused."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper

from carrara.core.failpoints import ENVIRONMENT
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.serving_gates import latency_at_most, safe_to_serve, size_at_most
from carrara.models.signature import TensorSpec
from carrara.serving.trial import try_to_serve
from tiny_models import SIGNATURE, doubling

ROWS = pl.DataFrame({"x": np.array([1, 2.5, -3, 4], np.float32)})
DOUBLED = np.array([2, 5, -6, 8], np.float32)


def tried(model: bytes = b"", *, signature=SIGNATURE, expected=DOUBLED, within: float = 60):
    files = {"model.onnx": model or doubling()}
    return try_to_serve(files, format="onnx", signature=signature, rows=ROWS, expected=expected, within_seconds=within)


def graph(*nodes, outputs=("doubled",)) -> bytes:
    def info(name: str):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None])

    made = helper.make_graph(list(nodes), "g", [info("x")], [info(name) for name in outputs])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString()


def endless() -> bytes:
    """A loop that goes round and round."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Add", ["held", "held"], ["kept"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, None),
        ],
    )
    turns = helper.make_tensor("turns", TensorProto.INT64, [], [2**62])
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    return graph(
        helper.make_node("Constant", [], ["turns"], value=turns),
        helper.make_node("Constant", [], ["true"], value=true),
        helper.make_node("Loop", ["turns", "true", "x"], ["doubled"], body=body),
    )


def test_a_good_artifact_is_served_over_grpc_and_timed():
    trial = tried()
    assert trial.safe, trial.reason
    assert (trial.rows, trial.through, trial.bytes) == (4, "the gRPC server", len(doubling()))
    assert 0 < trial.p50_ms <= trial.p99_ms
    assert trial.load_seconds > 0


def test_what_crashes_is_refused(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "trial.loaded=kill")
    assert tried().reason == "its process died of SIGKILL"


def test_what_hangs_is_ended_and_refused():
    assert tried(endless(), within=6).reason == "it had not answered after 6 s"


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (b"not a graph", {}, "protobuf parsing failed"),
        (graph(helper.make_node("Doubled", ["x"], ["doubled"])), {}, "Doubled"),
        (graph(helper.make_node("Log", ["x"], ["doubled"])), {"expected": np.log([1, 2.5, 1, 1])}, "is nan for row 2"),
        (doubling(), {"expected": DOUBLED + 1}, "it answers 2 to row 0, and was evaluated with 3"),
        (
            doubling(),
            {"signature": replace(SIGNATURE, outputs=(TensorSpec("doubled", "float32", (None, 2)),))},
            r"has the shape \[1\], and not \[None, 2\]",
        ),
        (
            doubling(),
            {"signature": replace(SIGNATURE, outputs=(TensorSpec("doubled", "int64"),))},
            "is of float32, and not of int64",
        ),
        (doubling(), {"signature": replace(SIGNATURE, outputs=(TensorSpec("tripled", "float32"),))}, "tripled"),
    ],
    ids=[
        "no graph",
        "a missing operation",
        "not a number",
        "another answer",
        "another shape",
        "another type",
        "another output",
    ],
)
def test_what_answers_wrongly_is_refused_with_the_reason(model, options, reason):
    trial = tried(model, **options)
    assert not trial.safe
    assert re.search(reason, trial.reason), trial.reason


def test_the_gates_say_what_the_trial_found():
    trial = tried()
    evidence = Evidence(Evaluation(rows=1, metrics={}), trial=trial)
    assert safe_to_serve().judge(evidence).passed
    assert latency_at_most(10_000).judge(evidence).passed
    assert not latency_at_most(1e-6).judge(evidence).passed
    assert size_at_most(1).judge(evidence).passed
    small = size_at_most(len(doubling()) / 2e6).judge(evidence)
    assert (small.passed, small.found) == (False, len(doubling()) / 1e6)
    unsafe = Evidence(evidence.evaluation, trial=replace(trial, reason="it burns", p99_ms=None))
    assert safe_to_serve().judge(unsafe).message == "it is not safe to serve: it burns"
    for gate in (safe_to_serve(), latency_at_most(1), size_at_most(1)):
        assert not gate.judge(Evidence(evidence.evaluation)).passed
    assert not math.isnan(trial.p99_ms)
