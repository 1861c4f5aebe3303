"""Clients that are slow, many or gone without a word: they cost little, and others do not notice (F33, F40)."""

from __future__ import annotations

import json
import resource
import socket
import statistics
import threading
import time
import urllib.request
from contextlib import ExitStack

import pytest
from doubling import Doubling, endpoint
from servers import publish, served

from carrara.serving.client import Client
from carrara.serving.manager import ModelManager
from carrara.serving.options import Wire
from carrara.serving.server import ModelServer

BODY = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
START = f"POST /v1/models/doubling:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


@pytest.fixture
def server():
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    made = ModelServer(manager, grpc_port=0, rest_port=0, wire=Wire(body_seconds=0.5))
    made.start()
    yield made
    made.stop(1)


def seconds_of(server: ModelServer, asked: int) -> list[float]:
    found = []
    with Client(f"http://127.0.0.1:{server.rest_port}", timeout=20) as client:
        for _ in range(asked):
            began = time.perf_counter()
            client.predict("doubling", {"x": [1.0], "name": ["a"]})
            found.append(time.perf_counter() - began)
    return found


def test_a_body_that_does_not_come_is_given_up(server):
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as raw:
        raw.sendall(START + BODY[:5])
        assert raw.recv(65536).startswith(b"HTTP/1.1 408")


def test_headers_and_bodies_that_trickle_and_connections_that_idle_hold_up_nobody(server):
    threads = threading.active_count()
    usual = statistics.median(seconds_of(server, 100))
    with ExitStack() as opened:
        for port in (server.rest_port, server.grpc_port):
            for number in range(200):
                raw = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                raw.sendall(
                    (b"", START[:20], START + BODY[:5])[number % 3] if port == server.rest_port else b"PRI * HT"
                )
        assert statistics.median(seconds_of(server, 100)) < 3 * usual + 0.002
        assert threading.active_count() <= threads + 8
    assert seconds_of(server, 1)[0] < 5


@pytest.mark.slow
def test_five_thousand_idle_connections_cost_little():
    """F33, as many as this process and the server may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    usual = statistics.median(seconds_of(server, 200))
    before = _resident()
    with ExitStack() as opened:
        for number in range(5_000):
            port = (server.rest_port, server.grpc_port)[number % 2]
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert statistics.median(seconds_of(server, 200)) < 2 * usual + 0.002
        assert _resident() - before < 200 << 20
    server.stop(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_where_descriptors_run_out_the_server_answers_again_once_some_are_free(tmp_path):
    """F40."""
    publish(tmp_path / "m", 2)
    with served("--model_name=m", f"--model_base_path={tmp_path / 'm'}", cwd=tmp_path) as server:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (120, 120))
        with ExitStack() as opened:
            for _ in range(150):
                opened.enter_context(socket.create_connection(("127.0.0.1", server.rest_port), timeout=20))
            time.sleep(0.3)
        until = time.monotonic() + 20
        while True:
            try:
                assert server.predict("m", 3.0) == 6.0
                break
            except (OSError, urllib.request.HTTPError):
                assert time.monotonic() < until
                time.sleep(0.2)


def test_a_host_that_has_version_6_of_ip_only_is_served():
    """F40."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    server = ModelServer(manager, host="::1", grpc_port=0, rest_port=0)
    server.start()
    with urllib.request.urlopen(
        f"http://[::1]:{server.rest_port}/v1/models/doubling:predict", BODY, timeout=20
    ) as reply:
        assert json.load(reply)["predictions"][0]["doubled"] == 2.0
    server.stop(1)
