"""Deadlines and clients that leave: what nobody waits for any more is not computed (S33, F35)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from raw_http2 import call, connected

from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.server import ModelServer
from carrara.serving.transports import grpc as by_grpcio, http
from carrara.serving.transports.grpc import GrpcTransport
from carrara.serving.transports.grpc_native import NativeGrpcTransport

BODY = json.dumps({"instances": [{"x": 7.0, "name": "a"}]}).encode()
WAITED = 0.3


def request(value: float) -> bytes:
    return wire.encode_request("doubling", {"x": np.array([value], np.float32), "name": np.array(["a"], dtype=object)})


class Asked(Doubling):
    """Notes the values that it was asked for."""

    def __init__(self, hold: threading.Event) -> None:
        super().__init__(1, hold)
        self.values: list[float] = []

    def predict(self, inputs, signature_name=""):
        self.values += inputs["x"].tolist()
        return super().predict(inputs, signature_name)


@pytest.fixture
def held() -> Iterator[tuple[ModelServer, threading.Event, Asked]]:
    hold = threading.Event()
    predictor = Asked(hold)
    manager = ModelManager(lambda: [endpoint(1)], lambda _: predictor)
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    yield server, hold, predictor
    hold.set()
    server.stop(5)


@pytest.fixture(params=[NativeGrpcTransport, GrpcTransport], ids=["native", "grpcio"])
def port(request, held, monkeypatch) -> Iterator[int]:
    monkeypatch.setattr(by_grpcio, "_THREADS", 1)
    calls = GrpcCalls(held[0].inference, held[0].manager)
    transport = request.param("127.0.0.1", 0, calls.methods, calls.handle)
    transport.start()
    yield transport.port
    held[1].set()
    transport.stop(5)


def test_a_call_whose_deadline_passes_in_the_queue_or_that_is_cancelled_is_not_computed(held, port):
    _, hold, predictor = held
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(wire.PREDICT)
        first = ask.future(request(1), timeout=20)
        assert predictor.entered.wait(20)
        late = ask.future(request(2), timeout=WAITED)
        cancelled = ask.future(request(3), timeout=20)
        patient = ask.future(request(4), timeout=20)
        cancelled.cancel()
        assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.1)
        hold.set()
        assert (first.code(), patient.code()) == (grpc.StatusCode.OK, grpc.StatusCode.OK)
    assert predictor.values == [1.0, 4.0]


def test_a_deadline_holds_though_the_client_never_takes_its_call_back(held):
    """A client that only writes `grpc-timeout`, as proxies do, and goes on listening."""
    server, hold, predictor = held
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        first = channel.unary_unary(wire.PREDICT).future(request(1), timeout=20)
        assert predictor.entered.wait(20)
        with connected(server.grpc_port) as raw:
            raw.sendall(call(request(2), grpc_timeout="200m"))
            time.sleep(WAITED)
            hold.set()
            assert first.code() == grpc.StatusCode.OK
    assert predictor.values == [1.0]


def _post(server: ModelServer, *headers: str) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", server.rest_port), timeout=20)
    lines = ["POST /v1/models/doubling:predict HTTP/1.1", "host: x", f"content-length: {len(BODY)}", *headers]
    raw.sendall("\r\n".join([*lines, "", ""]).encode() + BODY)
    return raw


def _both_lanes(server: ModelServer, predictor: Asked) -> list[socket.socket]:
    """Two requests that the model is held with, so that what comes now waits."""
    made = []
    for number in (1, 2):
        made.append(_post(server))
        until = time.monotonic() + 20
        while len(predictor.values) < number and time.monotonic() < until:
            time.sleep(0.01)
    return made


def _status(raw: socket.socket) -> int:
    return int(raw.recv(65536).split()[1])


def test_rest_does_not_compute_what_is_past_its_deadline(held):
    server, hold, predictor = held
    waiting = _both_lanes(server, predictor)
    late = _post(server, "grpc-timeout: 100m")
    patient = _post(server, "grpc-timeout: 20S")
    time.sleep(WAITED)
    hold.set()
    assert [_status(one) for one in (*waiting, late, patient)] == [200, 200, 504, 200]
    assert len(predictor.values) == 3
    for one in (*waiting, late, patient):
        one.close()


def test_rest_refuses_what_has_waited_too_long_and_forgets_who_has_gone(held, monkeypatch):
    server, hold, predictor = held
    monkeypatch.setattr(http, "LONGEST_WAIT_SECONDS", 0.2)
    waiting = _both_lanes(server, predictor)
    gone, late = _post(server), _post(server)
    time.sleep(0.1)
    gone.close()
    time.sleep(WAITED)
    hold.set()
    assert [_status(one) for one in (*waiting, late)] == [200, 200, 429]
    assert len(predictor.values) == 2
    assert server._http._waiting == 0
    for one in (*waiting, late):
        one.close()
