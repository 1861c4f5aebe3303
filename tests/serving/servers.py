"""`carrara serve` as a process of its own, and small graphs to put into its folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper


def times(factor: float) -> bytes:
    """A graph that multiplies `x` by a factor."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])]
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "factor"], ["y"])], "times", inputs, outputs, [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def publish(base: Path, version: int, factor: float | None = None) -> Path:
    """Put a version that multiplies by its own number in place by one rename."""
    made = base / f"making-{version}"
    made.mkdir(parents=True)
    (made / "model.onnx").write_bytes(times(version if factor is None else factor))
    return made.rename(base / str(version))


@dataclass(frozen=True)
class Served:
    """A running server: its ports, what it said, and questions to it over REST."""

    grpc_port: int
    rest_port: int
    said: str
    pid: int = 0

    def ask(self, path: str, data: Any = None) -> tuple[int, Any]:
        """The status and the JSON of a GET, or of a POST with `data`."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def predict(self, model: str, value: float = 1.0) -> Any:
        """What a model answers to one value: a number, or the error."""
        _, found = self.ask(f"/v1/models/{model}:predict", {"instances": [value]})
        return found["predictions"][0] if "predictions" in found else found["error"]


@contextmanager
def served(*options: str, cwd: Path, path: Path | None = None) -> Iterator[Served]:
    """A server of folders that has started; what is installed in `path` is there for it."""
    command = [sys.executable, "-m", "carrara", "serve", "--port=0", "--rest_api_port=0", *options]
    log = cwd / "server.log"
    paths = os.pathsep.join(map(str, filter(None, (path, os.environ.get("PYTHONPATH")))))
    process = subprocess.Popen(
        [*command, "--file_system_poll_wait_seconds=0.05", "--until-eof", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("wb"),
        text=True,
        cwd=cwd,
        env={**os.environ, **({"PYTHONPATH": paths} if path else {})},
    )
    try:
        assert process.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, f"the server ended before it was ready: {said}{log.read_text()}"
            said += line
        ports = json.loads(said[said.index("{") :])
        yield Served(ports["grpc_port"], ports["rest_port"], said + log.read_text(), process.pid)
    finally:
        process.communicate("", timeout=30)
    assert process.returncode == 0
