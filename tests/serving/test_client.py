"""The client, over both wires, against a real server: answers, refusals, deadlines, and asking again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time

import numpy as np
import polars as pl
import pytest
from doubling import Doubling, endpoint

import carrara
from carrara.core.errors import ConfigurationError, RequestError
from carrara.serving.client.base import Busy, Refused
from carrara.serving.client.bench import measure
from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer


def serve(predictor: Doubling, **ports) -> ModelServer:
    manager = ModelManager(lambda: [endpoint(predictor.version)], lambda target: predictor)
    made = ModelServer(manager, grpc_port=0, rest_port=0, **ports)
    made.start()
    return made


@pytest.fixture(scope="module")
def server():
    made = serve(Doubling(3))
    yield made
    made.stop()


@pytest.fixture(params=["grpc", "http"])
def address(request, server) -> str:
    return f"{request.param}://127.0.0.1:{server.grpc_port if request.param == 'grpc' else server.rest_port}"


def test_columns_and_rows_are_answered_with_the_version(address):
    with carrara.Client(address) as client:
        by_columns = client.predict("doubling", {"x": np.array([1.5, 2.0], np.float32), "name": ["a", "b"]})
        by_rows = client.predict("doubling", [{"x": 1.5, "name": "a"}, {"x": 2.0, "name": "b"}], version=3)
    for answered in (by_columns, by_rows):
        assert (answered.endpoint, answered.version) == ("doubling", 3)
        assert answered.outputs["doubled"].tolist() == [9.0, 12.0]
        assert answered.outputs["name"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"endpoint": "dubling"}, "NOT_FOUND"),
        ({"version": 9}, "NOT_FOUND"),
        ({"inputs": {"x": [-1.0], "name": ["a"]}}, "INVALID_ARGUMENT"),
        ({"inputs": {"x": ["far"], "name": ["a"]}}, "INVALID_ARGUMENT"),
    ],
)
def test_what_is_wrong_is_refused_at_once_with_the_servers_words(address, asked, code):
    full = {"endpoint": "doubling", "inputs": {"x": [1.0], "name": ["a"]}, **asked}
    with carrara.Client(address) as client, pytest.raises(Refused) as raised:
        client.predict(full.pop("endpoint"), full.pop("inputs"), **full)
    assert raised.value.code == code


def test_rows_that_do_not_fit_together_are_named(address):
    with carrara.Client(address) as client, pytest.raises(RequestError, match="row 1"):
        client.predict("doubling", [{"x": 1.0, "name": "a"}, {"x": 1.0}])


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_deadline_holds_whatever_the_server_does(scheme):
    hold = threading.Event()
    made = serve(Doubling(1, hold))
    try:
        port = made.grpc_port if scheme == "grpc" else made.rest_port
        began = time.monotonic()
        with carrara.Client(f"{scheme}://127.0.0.1:{port}", timeout=0.3) as client, pytest.raises(Busy) as raised:
            client.predict("doubling", {"x": [1.0], "name": ["a"]})
        assert raised.value.code == "DEADLINE_EXCEEDED"
        assert time.monotonic() - began < 5
    finally:
        hold.set()
        made.stop()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_loads_still_is_asked_again_until_it_answers(scheme):
    loaded = threading.Event()
    wanted = []
    manager = ModelManager(lambda: wanted, lambda target: Doubling(), poll_seconds=0.02)
    made = ModelServer(manager, grpc_port=0, rest_port=0)
    made.start()

    def load_slowly(target):
        assert loaded.wait(20)
        return Doubling()

    manager._loader.load = load_slowly
    wanted.append(endpoint(1))
    try:
        while not manager._loaded.slots:
            time.sleep(0.01)
        threading.Timer(0.3, loaded.set).start()
        port = made.grpc_port if scheme == "grpc" else made.rest_port
        with carrara.Client(f"{scheme}://127.0.0.1:{port}", timeout=20, retries=20) as client:
            assert client.predict("doubling", {"x": [1.0], "name": ["a"]}).outputs["doubled"].tolist() == [2.0]
    finally:
        made.stop()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_not_there_is_busy_after_the_retries(scheme):
    with carrara.Client(f"{scheme}://127.0.0.1:1", timeout=2, retries=1) as client, pytest.raises(Busy) as raised:
        client.predict("doubling", {"x": [1.0], "name": ["a"]})
    assert raised.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("address", ["127.0.0.1:8500", "ftp://a:1", "grpc://:1", "grpc://a:b"])
def test_an_address_that_is_none_is_named(address):
    with pytest.raises(ConfigurationError, match="not the address of a server"):
        carrara.Client(address)


def test_a_latency_counts_from_when_a_request_was_due():
    """A server that stalls once for 0.3 s makes late every request that was due in the meantime."""
    stalled = threading.Event()

    def ask(number: int) -> int:
        if not stalled.is_set():
            stalled.set()
            time.sleep(0.3)
        return 1

    open_loop = measure("e", ask, connections=1, seconds=1.0, rate=100)
    late = open_loop.latency_ms["p50"], open_loop.latency_ms["max"]
    assert late[1] >= 290
    assert open_loop.latency_ms["p90"] > 100
    stalled.clear()
    assert measure("e", ask, connections=1, seconds=0.5).latency_ms["p90"] < 100


def test_the_bench_command_measures_a_server(server, tmp_path):
    pl.DataFrame({"x": [1.0, 2.0], "name": ["a", "b"]}).write_csv(tmp_path / "rows.csv")
    address = f"grpc://127.0.0.1:{server.grpc_port}"
    command = ["bench", "doubling", "-i", "rows.csv", "--address", address, "-c", "2", "--for", "1s", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "carrara", *command], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    found = json.loads(done.stdout)
    assert found["answered"] > 10
    assert (found["failed"], found["versions"]) == ({}, {"3": found["answered"]})
    assert list(found["latency_ms"]) == ["p50", "p90", "p95", "p99", "p99.9", "max"]
    assert re.fullmatch(r"\d+ cores of .+, Python [\d.]+", found["asked_from"])
