"""Every method of TensorFlow Serving's own client, unchanged, against a folder of versions."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_stubs import content
from servers import publish, served

SPEC = {"name": "test"}


def floats(*values: float, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    sizes = [{"size": size} for size in (shape or (len(values),))]
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": sizes}, "float_val": values}


def example(**features: float) -> dict[str, Any]:
    return {"features": {"feature": {name: {"float_list": {"value": [value]}} for name, value in features.items()}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    publish(base / "test", 1, 0.25)
    publish(base / "test", 2, 0.5)
    publish(base / "other", 9)
    (base / "models.config").write_text(config(base))
    with served(f"--model_config_file={base / 'models.config'}", cwd=base) as made:
        yield made


def config(base: Path) -> str:
    return f"""model_config_list {{ config {{
      name: "test" base_path: "{base / "test"}" model_platform: "tensorflow"
      model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: 1 }}
    }} }}"""


def test_predict_answers_by_version_and_label_and_names_what_answered(stubs, server):
    spec = {"name": "test", "signature_name": "serving_default"}
    found = stubs.ask(
        server.grpc_port,
        ("Predict", {"model_spec": spec, "inputs": {"x": floats(1.0, 3.0)}}),
        ("Predict", {"model_spec": {**SPEC, "version": 1}, "inputs": {"x": floats(1.0)}}),
        ("Predict", {"model_spec": {**SPEC, "version_label": "stable"}, "inputs": {"x": floats(4.0)}}),
        ("Predict", {"model_spec": SPEC, "inputs": {"x": floats(8.0, shape=(3,))}, "output_filter": ["y"]}),
        ("Predict", {"model_spec": SPEC, "inputs": {"x": floats(8.0)}, "predict_streamed_options": {}}),
    )
    assert [content(one["outputs"]["y"]) for one in found] == [[0.5, 1.5], [0.25], [1.0], [4.0, 4.0, 4.0], [4.0]]
    assert found[0]["model_spec"] == {"name": "test", "version": "2", "signature_name": "serving_default"}
    assert found[1]["model_spec"]["version"] == found[2]["model_spec"]["version"] == "1"


def test_classify_regress_and_multi_inference_take_examples(stubs, server):
    rows = {"example_list": {"examples": [example(x=1.0), example(x=0.5)]}}
    with_context = {"example_list_with_context": {"examples": [{}, example(x=1.0)], "context": example(x=2.0)}}
    tasks = [{"model_spec": {**SPEC, "signature_name": "serving_default"}, "method_name": "tensorflow/serving/regress"}]
    regressed, in_context, classified, several = stubs.ask(
        server.grpc_port,
        ("Regress", {"model_spec": SPEC, "input": rows}),
        ("Regress", {"model_spec": SPEC, "input": with_context}),
        ("Classify", {"model_spec": SPEC, "input": rows}),
        ("MultiInference", {"tasks": tasks, "input": rows}),
    )
    assert [one.get("value") for one in regressed["result"]["regressions"]] == [0.5, 0.25]
    assert [one.get("value") for one in in_context["result"]["regressions"]] == [1.0, 0.5]
    first = classified["result"]["classifications"][0]["classes"]
    assert [(one["label"], one["score"]) for one in first] == [("0", 0.5), ("1", 0.5)]
    assert several["results"][0]["regression_result"] == regressed["result"]
    assert several["results"][0]["model_spec"]["version"] == "2"


def test_metadata_and_status_are_told(stubs, server):
    metadata, status, one = stubs.ask(
        server.grpc_port,
        ("GetModelMetadata", {"model_spec": SPEC, "metadata_field": ["signature_def"]}),
        ("GetModelStatus", {"model_spec": SPEC}),
        ("GetModelStatus", {"model_spec": {**SPEC, "version": 1}}),
    )
    signature = metadata["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"] == {
        "name": "x:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1"}]},
    }
    assert [(s["version"], s["state"]) for s in status["model_version_status"]] == [
        ("2", "AVAILABLE"),
        ("1", "AVAILABLE"),
    ]
    assert [s["version"] for s in one["model_version_status"]] == ["1"]


def test_what_cannot_be_answered_has_tensorflow_servings_codes_and_words(stubs, server):
    x = {"x": floats(1.0)}
    rows = {"example_list": {"examples": [example(x=1.0)]}}
    task = {"model_spec": SPEC, "method_name": "tensorflow/serving/classify"}
    cases = [
        ("Predict", {"inputs": x}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            "Predict",
            {"model_spec": {"name": "tset"}, "inputs": x},
            "NOT_FOUND",
            "Servable not found for request: Latest(tset)",
        ),
        (
            "Predict",
            {"model_spec": {**SPEC, "version": 3}, "inputs": x},
            "NOT_FOUND",
            "Servable not found for request: Specific(test, 3)",
        ),
        (
            "Predict",
            {"model_spec": {**SPEC, "version_label": "canary"}, "inputs": x},
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
        ),
        (
            "Predict",
            {"model_spec": {**SPEC, "signature_name": "other"}, "inputs": x},
            "FAILED_PRECONDITION",
            'Serving signature key "other" not found.',
        ),
        (
            "Predict",
            {"model_spec": SPEC, "inputs": {"x": floats(1.0), "z": floats(1.0)}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.",
        ),
        (
            "Predict",
            {"model_spec": SPEC, "inputs": x, "output_filter": ["q"]},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: q",
        ),
        ("Classify", {"model_spec": SPEC}, "INVALID_ARGUMENT", "Input is empty"),
        ("Regress", {"model_spec": SPEC, "input": {"example_list": {}}}, "INVALID_ARGUMENT", "Input is empty"),
        (
            "MultiInference",
            {"tasks": [task, task], "input": rows},
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature",
        ),
        (
            "MultiInference",
            {"tasks": [task, {**task, "model_spec": {"name": "other"}}], "input": rows},
            "INVALID_ARGUMENT",
            "must access the same model name",
        ),
        (
            "GetModelMetadata",
            {"model_spec": SPEC},
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            "GetModelMetadata",
            {"model_spec": SPEC, "metadata_field": ["other"]},
            "INVALID_ARGUMENT",
            "Metadata field other is not supported",
        ),
        ("GetModelStatus", {"model_spec": {"name": "tset"}}, "NOT_FOUND", "Could not find any versions of model tset"),
        (
            "GetModelStatus",
            {"model_spec": {**SPEC, "version": 8}},
            "NOT_FOUND",
            "Could not find version 8 of model test",
        ),
    ]
    found = stubs.ask(server.grpc_port, *((method, request) for method, request, _, _ in cases))
    for (method, request, code, details), one in zip(cases, found, strict=True):
        assert (one.get("code"), one.get("details", "")[: len(details)]) == (code, details) or (
            one.get("code") == code and details in one["details"]
        ), (method, request, one)


def test_a_configuration_is_changed_by_a_call_and_a_wrong_one_leaves_all_as_it_was(stubs, server, tmp_path):
    base = tmp_path
    publish(base / "a", 4)
    publish(base / "b", 6)
    (base / "broken" / "1").mkdir(parents=True)
    (base / "broken" / "1" / "model.onnx").write_bytes(b"no graph")

    def change(*models: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "HandleReloadConfigRequest", {"config": {"model_config_list": {"config": models}}}

    def model(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "base_path": str(base / name), "model_platform": "tensorflow", **more}

    def status(name: str) -> tuple[str, dict[str, Any]]:
        return "GetModelStatus", {"model_spec": {"name": name}}

    (taken,) = stubs.ask(server.grpc_port, change(model("a")))
    assert taken in ({}, {"status": {}})
    assert (server.predict("a"), server.predict("test")[:18]) == (4.0, "Servable not found")
    broken, unlabelled, twice, custom, state = stubs.ask(
        server.grpc_port,
        change(model("a"), model("broken")),
        change(model("a", version_labels={"stable": 7})),
        change(model("a"), model("a")),
        ("HandleReloadConfigRequest", {"config": {"custom_model_config": {}}}),
        status("a"),
    )
    assert {one["code"] for one in (broken, unlabelled, twice, custom)} == {"FAILED_PRECONDITION"}
    assert "broken" in broken["details"]
    assert unlabelled["details"].startswith("Request to assign label stable to version 7 of model a")
    assert state["model_version_status"][0]["state"] == "AVAILABLE"
    assert server.predict("a") == 4.0
    stubs.ask(server.grpc_port, change(model("a"), model("b", version_labels={"stable": 6})))
    assert (server.predict("a"), server.predict("b/labels/stable")) == (4.0, 6.0)


@pytest.mark.slow
def test_a_saved_model_answers_every_type_as_tensorflow_does(stubs, tmp_path):
    tf = pytest.importorskip("tensorflow")
    from carrara.models.signature import NUMPY_TYPES
    from carrara.serving.protocols.types import TENSORFLOW_TYPES

    numbers = [name for name in NUMPY_TYPES if name not in ("string", "bytes", "datetime")]
    module = tf.Module()
    module.weights = tf.Variable([[1.0], [0.5]])
    texts_spec = tf.TensorSpec([None], tf.string)
    module.served = {
        "serving_default": tf.function(lambda x: {"y": 0.5 * x + 2.0}, input_signature=[tf.TensorSpec([None])]),
        "linear": tf.function(lambda x: {"y": x @ module.weights}, input_signature=[tf.TensorSpec([None, 2])]),
        "upper": tf.function(lambda t: {"louder": tf.strings.upper(t)}, input_signature=[texts_spec]),
    }
    for name in numbers:
        module.served[f"as_{name}"] = tf.function(
            lambda x: {"same": tf.identity(x)}, input_signature=[tf.TensorSpec([None, 2], name)]
        )
    tf.saved_model.save(module, str(tmp_path / "test" / "1"), signatures=module.served)
    judge = tf.saved_model.load(str(tmp_path / "test" / "1"))

    calls, wanted = [], []
    for name in numbers:
        values = np.array([[0, 1], [3, 100]]).astype(NUMPY_TYPES[name])
        tensor = {
            "dtype": TENSORFLOW_TYPES[name],
            "tensor_shape": {"dim": [{"size": 2}, {"size": 2}]},
            "tensor_content": base64.b64encode(values.tobytes()).decode(),
        }
        calls.append(("Predict", {"model_spec": {**SPEC, "signature_name": f"as_{name}"}, "inputs": {"x": tensor}}))
        wanted.append(values.tobytes())
    rows = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    spec = {**SPEC, "signature_name": "linear"}
    calls.append(("Predict", {"model_spec": spec, "inputs": {"x": floats(*rows.ravel().tolist(), shape=(5, 2))}}))
    wanted.append(judge.signatures["linear"](x=tf.constant(rows))["y"].numpy().tobytes())
    calls.append(("Predict", {"model_spec": SPEC, "inputs": {"x": floats(1.0)}}))
    wanted.append(np.float32(2.5).tobytes())
    texts = {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": 1}]},
        "string_val": [base64.b64encode(b"a\xff").decode()],
    }
    calls.append(("Predict", {"model_spec": {**SPEC, "signature_name": "upper"}, "inputs": {"t": texts}}))
    with served("--model_name=test", f"--model_base_path={tmp_path / 'test'}", cwd=tmp_path) as server:
        *found, louder = stubs.ask(server.grpc_port, *calls)
        assert server.predict("test", 1.0) == 2.5
        status, metadata = server.ask("/v1/models/test/metadata")
    for call, one, data in zip(calls, found, wanted, strict=False):
        (output,) = one["outputs"].values()
        assert base64.b64decode(output["tensor_content"]) == data, call
    assert base64.b64decode(louder["outputs"]["louder"]["string_val"][0]) == b"A\xff"
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert status == 200
    assert signatures["linear"]["inputs"]["x"]["tensor_shape"]["dim"] == [
        {"size": "-1", "name": ""},
        {"size": "2", "name": ""},
    ]
    assert signatures["linear"]["inputs"]["x"]["name"] == "linear_x:0"
