"""Serving: Carrara beside the bare loop, a C++ server and Python's servers, each on one core, the load on the other.

python benchmarks/serving/run.py [--works grpc,rest,…] [--seconds 8] [--work FOLDER]

The load is made by h2load (Debian's nghttp2-client). Requests of one row to a model of 200 trees over 28 features; the
workspace's server has everything on. The C++ server needs g++, libgrpc++-dev and protobuf-compiler-grpc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "native"))

from build import build
from harness import Peer, environment, last_lines, table
from load import Load, grpc_load, rest_load
from networks import IMAGE, write_image_model, write_saved_model
from servers import SERVER_CORE, Running, carrara, grpc_server, rest_peer, write_files
from subject import FEATURES, VIEWS

from carrara.core.environment import hardware
from carrara.models.runtimes.onnx import session
from carrara.serving.protocols.tensorflow_serving import PREDICT, encode_request

HERE = Path(__file__).parent
RANDOM = np.random.default_rng(1)
ROW = RANDOM.normal(size=len(FEATURES)).astype(np.float32)
PEERS = {
    "fastapi": Peer("fastapi_peer.py", ("fastapi==0.165.0", "uvicorn==0.54.0", "onnxruntime==1.32.0", "numpy")),
    "mlserver": Peer("mlserver_peer.py", ("mlserver==1.7.1", "mlserver-xgboost==1.7.1")),
    "mlflow": Peer("mlflow_peer.py", ("mlflow==3.17.0", "xgboost-cpu==3.2.0", "setuptools<81")),
    "bentoml": Peer("bentoml_peer.py", ("bentoml==1.4.40", "onnxruntime==1.32.0", "numpy")),
}
INSTANCES = json.dumps({"instances": [ROW.tolist()]}).encode()
NAMED_INSTANCES = json.dumps(
    {"instances": [{name: float(value) for name, value in zip(FEATURES, ROW, strict=True)}]}
).encode()
_V2 = {"inputs": [{"name": "x", "shape": [1, len(ROW)], "datatype": "FP32", "data": ROW.tolist()}]}
PEER_REQUESTS = {
    "fastapi": ("/predict", INSTANCES),
    "bentoml": ("/predict", INSTANCES),
    "mlserver": ("/v2/models/bought/infer", json.dumps(_V2).encode()),
    "mlflow": ("/invocations", json.dumps({"inputs": [ROW.tolist()]}).encode()),
}
MATRIX = encode_request("bought", {"features": ROW[None]})
NAMED = encode_request("bought", {name: ROW[place : place + 1] for place, name in enumerate(FEATURES)})
KEYS = encode_request("bought", {view: np.array([f"{view}7"], object) for view in VIEWS})
HEADER = ("server", "connections", "answers/s", "failed", "p50 µs", "p95 µs", "p99 µs")


def grpc(work: Path, seconds: float) -> None:
    model = write_files(work)
    versions = ("--model_name", "bought", "--model_base_path", str(model / "versions"))
    rows = []
    with grpc_server([sys.executable, str(HERE / "bare.py"), str(model / "model.onnx")]) as server:
        rows += _grpc_rows("bare loop", server, MATRIX, seconds)
    try:
        command = [str(build(work / "native")), str(model / "forest.txt"), "0"]
        with grpc_server(command) as server:
            rows += _grpc_rows("C++, inline", server, MATRIX, seconds)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"C++: not measured: {last_lines(str(getattr(error, 'stderr', None) or error))}")
    with carrara(*versions) as server:
        rows += _grpc_rows("Carrara, folder, one tensor", server, MATRIX, seconds)
    with carrara("--workspace", str(work / "workspace")) as server:
        rows += _grpc_rows("Carrara, 28 named features", server, NAMED, seconds)
        rows += _grpc_rows("Carrara, by keys, 3 views", server, KEYS, seconds)
    _show(rows)


def rest(work: Path, seconds: float) -> None:
    write_files(work)
    with carrara("--workspace", str(work / "workspace")) as server:
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/bought:predict"
        rows = [_row("Carrara", c, rest_load(url, NAMED_INSTANCES, c, seconds)) for c in (32, 1)]
    for name in PEERS:
        rows += _peer_rows(name, work, seconds)
    _show(rows)


def saved_model(work: Path, seconds: float) -> None:
    versions = write_saved_model(work / "saved_model")
    with carrara("--model_name", "bought", "--model_base_path", str(versions)) as server:
        _show(_grpc_rows("TensorFlow SavedModel, 28-128-64-1", server, MATRIX, seconds))


def image(work: Path, seconds: float) -> None:
    """What the server adds to the runtime's own time, one image at a time; both on the server's core, in turn."""
    versions = write_image_model(work / "image")
    picture = RANDOM.normal(size=IMAGE).astype(np.float32)
    graph = session((versions / "1" / "model.onnx").read_bytes())
    message, rows, ratios = encode_request("cnn", {"image": picture}), [], []
    with carrara("--model_name", "cnn", "--model_base_path", str(versions)) as server:
        for _ in range(3):
            alone = _alone(graph, picture)
            load = grpc_load(server.grpc_port, PREDICT, message, 1, seconds)
            ratios.append(load.p50 / ((alone + _alone(graph, picture)) / 2))
            rows.append(_row("Carrara", 1, load))
    _show(rows)
    print(
        f"the server's p50 is {np.median(ratios):.3f} × the runtime's own ({', '.join(f'{one:.3f}' for one in ratios)})"
    )


def _alone(graph: Any, picture: np.ndarray) -> float:
    """The median of ONNX Runtime's time for an image, in microseconds."""
    cores, took = os.sched_getaffinity(0), []
    os.sched_setaffinity(0, {int(SERVER_CORE)})
    for _ in range(60):
        begun = time.perf_counter()
        graph.run(None, {"image": picture})
        took.append((time.perf_counter() - begun) * 1e6)
    os.sched_setaffinity(0, cores)
    return float(np.median(took))


def swap(work: Path, seconds: float) -> None:
    """A new version every second, for a minute under full load."""
    model = write_files(work)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        versions = Path(scratch) / "versions"
        shutil.copytree(model / "versions", versions)
        with carrara("--model_name", "bought", "--model_base_path", str(versions)) as server:
            steady = grpc_load(server.grpc_port, PREDICT, MATRIX, 32, seconds)
            stop = _every_second(lambda number: _put(versions, number))
            swapping = grpc_load(server.grpc_port, PREDICT, MATRIX, 32, 60)
            stop()
    _show([_row("steady", 32, steady), _row("a swap a second", 32, swapping)])
    print(f"p99 is {swapping.p99 / steady.p99:.2f} × the steady one")


def loading(work: Path, seconds: float) -> None:
    """Another model loads a new version every second, for a minute under full load, in a thread of its own."""
    model = write_files(work)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        asked, beside = Path(scratch) / "asked", Path(scratch) / "beside" / "versions"
        for folder in (asked, beside):
            shutil.copytree(model / "versions", folder)
        models = {"bought": asked, "beside": beside}
        listed = [f'config {{ name: "{name}" base_path: "{folder}" }}' for name, folder in models.items()]
        file = Path(scratch) / "models.config"
        file.write_text(f"model_config_list {{ {' '.join(listed)} }}")
        with carrara(f"--model_config_file={file}", "--num_load_threads=1") as server:
            steady = grpc_load(server.grpc_port, PREDICT, MATRIX, 32, seconds)
            stop = _every_second(lambda number: _put(beside, number))
            beside_it = grpc_load(server.grpc_port, PREDICT, MATRIX, 32, 60)
            stop()
    _show([_row("steady", 32, steady), _row("another model loads", 32, beside_it)])
    print(f"p99 is {beside_it.p99 / steady.p99:.2f} × the steady one")


def overload(work: Path, seconds: float) -> None:
    """Three times as many calls as can be answered: what is answered all the same, and how soon all is well again."""
    versions = write_files(work) / "versions"
    with carrara("--model_name", "bought", "--model_base_path", str(versions)) as server:
        peak = grpc_load(server.grpc_port, PREDICT, MATRIX, 32, seconds)
        before, begun = server.ended(), time.perf_counter()
        grpc_load(server.grpc_port, PREDICT, MATRIX, 32, seconds, rate=3 * peak.per_second)
        took, ended = time.perf_counter() - begun, server.ended()
        calm = grpc_load(server.grpc_port, PREDICT, MATRIX, 1, 2)
    answered = (ended["OK"] - before["OK"]) / took
    refused = ended["RESOURCE_EXHAUSTED"] - before["RESOURCE_EXHAUSTED"]
    print(f"peak {peak.per_second:,.0f} answers/s; under three times that {answered:,.0f} ({refused:,} refused)")
    print(f"that is {answered / peak.per_second:.2f} of the peak; right after it p50 is {calm.p50:,.0f} µs")


def memory(work: Path, seconds: float) -> None:
    """200 swaps, and what the process holds before and after."""
    model = write_files(work)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        versions = Path(scratch) / "versions"
        shutil.copytree(model / "versions", versions)
        options = ("--model_name", "bought", "--model_base_path", str(versions))
        with carrara(*options, "--file_system_poll_wait_seconds", "0.05") as server:
            held = []
            for number in range(2, 223):
                _put(versions, number)
                grpc_load(server.grpc_port, PREDICT, MATRIX, 1, 0.2) if number % 20 == 2 else time.sleep(0.3)
                if number in (22, 222):
                    held.append(server.resident_bytes)
    print(
        f"resident after 20 swaps {held[0] / 1e6:.1f} MB, after 220 {held[1] / 1e6:.1f} MB: × {held[1] / held[0]:.3f}"
    )


def start(work: Path, seconds: float) -> None:
    model = write_files(work)
    versions = ("--model_name", "bought", "--model_base_path", str(model / "versions"))
    for name, options in (("folder", versions), ("workspace", ("--workspace", str(work / "workspace")))):
        took = []
        for _ in range(5):
            with carrara(*options) as server:
                took.append(server.seconds)
        print(f"{name}: ready after {np.median(took):.2f} s")


WORKS: dict[str, Callable[[Path, float], None]] = {
    "grpc": grpc,
    "rest": rest,
    "saved_model": saved_model,
    "image": image,
    "swap": swap,
    "loading": loading,
    "overload": overload,
    "memory": memory,
    "start": start,
}


def _grpc_rows(name: str, server: Running, message: bytes, seconds: float) -> list[tuple[str, ...]]:
    rows = [_row(name, c, grpc_load(server.grpc_port, PREDICT, message, c, seconds)) for c in (32, 1)]
    if server.rest_port and (failed := server.ended().total() - server.ended()["OK"]):
        raise RuntimeError(f"{name}: {failed} calls did not end well")
    return rows


def _peer_rows(name: str, work: Path, seconds: float) -> list[tuple[str, ...]]:
    path, body = PEER_REQUESTS[name]
    try:
        python = environment(name, PEERS[name], work)
        with rest_peer(python, HERE / "peers" / PEERS[name].script, work / "model") as server:
            url = f"http://127.0.0.1:{server.rest_port}{path}"
            return [_row(name, c, rest_load(url, body, c, seconds)) for c in (32, 1)]
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return [(name, "", last_lines(str(getattr(error, "stderr", None) or error)), "", "", "", "")]


def _put(versions: Path, number: int) -> None:
    """One more version, in place by one rename."""
    with tempfile.TemporaryDirectory(dir=versions.parent) as scratch:
        made = shutil.copytree(versions / "1", Path(scratch) / "made")
        made.rename(versions / str(number))
    for old in versions.iterdir():
        if 1 < int(old.name) < number - 2:
            shutil.rmtree(old)


def _every_second(work: Callable[[int], None]) -> Callable[[], None]:
    told = threading.Event()

    def run() -> None:
        number = 2
        while not told.wait(1):
            work(number)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    return lambda: (told.set(), thread.join())[1]


def _row(name: str, connections: int, load: Load) -> tuple[str, ...]:
    took = (f"{one:,.0f}" for one in (load.p50, load.p95, load.p99))
    return name, str(connections), f"{load.per_second:,.0f}", str(load.failed), *took


def _show(rows: list[tuple[str, ...]]) -> None:
    print("\n".join(["", *table([HEADER, *rows]), ""]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "carrara-serving")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    print(f"on {hardware()}")
    for work in asked.works.split(","):
        print(f"\n{work}", flush=True)
        WORKS[work](asked.work, asked.seconds)
