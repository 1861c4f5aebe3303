"""The servers that are measured: each a process on one core, with a port that answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from subject import write_subject

from carrara import Workspace
from carrara.models.learned.forest import read_forest
from carrara.models.registry import learned_files, resolve

HERE = Path(__file__).parent
SERVER_CORE = "0"
START_SECONDS = 120


@dataclass(frozen=True)
class Running:
    """A server's process and where it listens; `seconds` it took until it did."""

    process: subprocess.Popen[str]
    grpc_port: int
    rest_port: int
    seconds: float

    def ended(self) -> Counter[str]:
        """How many requests ended with which code: over gRPC, a load generator sees only that something came back."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/metrics") as reply:
            lines = re.findall(r'^carrara_serving_requests_total{.*code="(\w+)".*} (\d+)$', reply.read().decode(), re.M)
        found: Counter[str] = Counter()
        for code, count in lines:
            found[code] += int(count)
        return found

    @property
    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def write_files(work: Path) -> Path:
    """The model as every server takes it: a workspace, a folder of versions, ONNX, XGBoost's JSON, plain trees."""
    workspace, folder = write_subject(work / "workspace"), work / "model"
    if folder.exists():
        return folder
    with Workspace(workspace) as ws:
        version = resolve(ws.stores, "bought@1")
        files = ws.stores.artifacts.get_files(version.manifest)
        learned = learned_files(ws.stores, version)
    making = work / "making"
    making.mkdir(exist_ok=True)
    (making / "model.onnx").write_bytes(files["servable/model.onnx"])
    (making / "model.json").write_bytes(learned["learned.json"])
    (making / "versions" / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(making / "model.onnx", making / "versions" / "1" / "model.onnx")
    forest = read_forest(learned)
    assert forest is not None
    lines = [f"{forest.base[0]} {len(forest.trees)}"]
    for tree in forest.trees:
        lines.append(str(len(tree)))
        columns = tree.left, tree.right, tree.column, tree.threshold, tree.missing_left.astype(int), tree.value
        lines += [" ".join(map(str, node)) for node in zip(*columns, strict=True)]
    (making / "forest.txt").write_text("\n".join(lines))
    making.rename(folder)
    return folder


@contextlib.contextmanager
def carrara(*options: str, core: str = SERVER_CORE) -> Iterator[Running]:
    """`carrara serve` with options."""
    command = [sys.executable, "-m", "carrara", "serve", "--port", "0", "--rest_api_port", "0", "--json", *options]
    with _process(command, core) as (process, begun):
        said = json.loads(_first_line(process))
        yield Running(process, said["grpc_port"], said["rest_port"], time.perf_counter() - begun)


@contextlib.contextmanager
def grpc_server(command: list[str]) -> Iterator[Running]:
    """A server that prints the port of its gRPC."""
    with _process(command, SERVER_CORE) as (process, begun):
        port = int(_first_line(process))
        yield Running(process, port, 0, time.perf_counter() - begun)


@contextlib.contextmanager
def rest_peer(python: Path, script: Path, folder: Path) -> Iterator[Running]:
    """A peer's server, as soon as its port accepts connections."""
    port = _free_port()
    with _process([str(python), str(script), str(folder), str(port)], SERVER_CORE) as (process, begun):
        while not _accepts(port):
            if process.poll() is not None or time.perf_counter() - begun > START_SECONDS:
                raise RuntimeError(f"{script.stem} does not start")
            time.sleep(0.05)
        yield Running(process, 0, port, time.perf_counter() - begun)


@contextlib.contextmanager
def _process(command: list[str], core: str) -> Iterator[tuple[subprocess.Popen[str], float]]:
    begun = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", core, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process, begun
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended before it listened")
    return line


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
