"""A folder of numbered versions, served with no workspace: the newest one, and no request lost while it changes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def publish(base: Path, version: int) -> None:
    """A graph that multiplies its rows by its version, put in place by one rename."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])]
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [1], [float(version)])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [helper.make_node("Mul", ["x", "factor"], ["z"]), helper.make_node("Unsqueeze", ["z", "axes"], ["y"])]
    graph = helper.make_graph(nodes, "times", inputs, outputs, [factor, axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    made = base / f"making-{version}"
    made.mkdir(parents=True)
    onnx.save(model, made / "model.onnx")
    made.rename(base / str(version))


def test_versions_of_a_folder_swap_under_a_client_that_never_fails(tmp_path: Path):
    base = tmp_path / "model"
    publish(base, 1)
    options = ["--model_name=times", f"--model_base_path={base}", "--port=0", "--rest_api_port=0"]
    command = [sys.executable, "-m", "carrara", "serve", *options, "--file_system_poll_wait_seconds=0.05"]
    server = subprocess.Popen(
        [*command, "--until-eof", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        assert server.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = server.stdout.readline()
            assert line, "the server ended before it was ready"
            said += line
        url = f"http://127.0.0.1:{json.loads(said)['rest_port']}/v1/models/times:predict"
        data = json.dumps({"instances": [{"x": 1.0}, {"x": 2.0}]}).encode()
        seen = [1]
        for version in (2, 3, 4):
            (base / f"{version * 10}").write_text("a file is no version")
            publish(base, version)
            while seen[-1] != version:
                with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as reply:
                    [one], [two] = json.load(reply)["predictions"]
                assert two == 2 * one
                seen.append(int(one))
        assert seen == sorted(seen)
    finally:
        server.communicate("", timeout=30)
    assert server.returncode == 0
