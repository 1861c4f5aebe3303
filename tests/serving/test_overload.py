"""Overload: what cannot be answered in time is refused at once, what is answered goes on, and it recovers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint

from carrara.serving.client.base import Busy
from carrara.serving.client.rest import RestWire
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.server import ModelServer
from carrara.serving.transports import grpc_native, http
from carrara.serving.transports.backlog import Backlog

INPUTS = {"x": np.array([1.0], np.float32), "name": np.array(["a"], dtype=object)}


def test_a_backlog_is_bounded_by_number_bytes_and_age():
    now = [0.0]
    backlog = Backlog(most=3, most_bytes=10, longest_seconds=5, clock=lambda: now[0])
    assert [backlog.add((number, 0, b"1234")) for number in range(3)] == [True, True, False]
    now[0] = 4
    assert backlog.add((3, 0, b"1"))
    assert not backlog.add((4, 0, b""))
    backlog.forget({1})
    now[0] = 6
    assert backlog.take(5) == ([(3, 0, b"1")], [(0, 0, b"1234")])
    assert backlog.waiting == 0
    assert backlog.add((5, 0, b"x" * 100))


@pytest.fixture
def slow(monkeypatch):
    """A server whose model is held, and whose backlog has three places."""
    monkeypatch.setattr(grpc_native, "_MOST_CALLS", 2)
    monkeypatch.setattr(http, "MOST_WAITING", 3)
    hold = threading.Event()
    predictor = Doubling(1, hold)
    manager = ModelManager(lambda: [endpoint(1)], lambda target: predictor)
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server._grpc._backlog = Backlog(most=3)
    server.start()
    yield server, hold, predictor
    hold.set()
    server.stop()


def test_grpc_refuses_at_once_what_does_not_fit_and_answers_the_rest(slow):
    server, hold, predictor = slow
    data = wire.encode_request("doubling", INPUTS)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        ask = channel.unary_unary(wire.PREDICT)
        first = ask.future(data, timeout=20)
        assert predictor.entered.wait(20)
        others = [ask.future(data, timeout=20) for _ in range(20)]
        time.sleep(0.3)
        hold.set()
        codes = [one.code() for one in [first, *others]]
        refused = [one for one, code in zip([first, *others], codes, strict=True) if code != grpc.StatusCode.OK]
        assert {one.code() for one in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert codes[0] == grpc.StatusCode.OK
        assert 3 <= codes.count(grpc.StatusCode.OK) <= 8
        assert dict(refused[0].trailing_metadata())["retry-after"] == "1"
        assert ask(data, timeout=20)


def test_rest_refuses_at_once_with_retry_after(slow):
    server, hold, predictor = slow
    client = RestWire("127.0.0.1", server.rest_port, "", None)

    def ask(_: int) -> float | str:
        try:
            client.predict("doubling", INPUTS, version=None, signature_name="", seconds=20)
        except Busy as error:
            return f"{error.code} {error.seconds}"
        return "answered"

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, number) for number in range(12)]
        assert predictor.entered.wait(20)
        until = time.monotonic() + 20
        while sum(one.done() for one in asked) < 9 and time.monotonic() < until:
            time.sleep(0.01)
        hold.set()
        found = [one.result() for one in asked]
    assert sorted(set(found)) == ["RESOURCE_EXHAUSTED 1.0", "answered"]
    assert found.count("answered") == 3
    assert ask(0) == "answered"
