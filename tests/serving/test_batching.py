"""Requests that wait together are one run, whichever protocol they come by, and each is answered as alone (S27)."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint

from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.server import ModelServer
from carrara.serving.transports.grpc_native import NativeGrpcTransport

CLIENTS = 32
VALUES = [float(number) / 3 for number in range(CLIENTS)]


class Held:
    """A server whose model waits in its first run until it may go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.predictor = Doubling(1, self.go_on)
        manager = ModelManager(lambda: [endpoint(1)], lambda _: self.predictor)
        self.server = ModelServer(manager, grpc_port=0, rest_port=0)
        self.server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.server.grpc_port}")

    def over_grpc(self, value: float) -> list[float]:
        inputs = {"x": np.array([value], np.float32), "name": np.array(["a"], dtype=object)}
        data = self._channel.unary_unary(wire.PREDICT)(wire.encode_request("doubling", inputs), timeout=60)
        return wire.decode_response(data)[1]["doubled"].tolist()

    def over_rest(self, value: float) -> list[float]:
        url = f"http://127.0.0.1:{self.server.rest_port}/v1/models/doubling:predict"
        body = json.dumps({"instances": [{"x": value, "name": "a"}]}).encode()
        with urllib.request.urlopen(url, body, timeout=60) as reply:
            return [one["doubled"] for one in json.load(reply)["predictions"]]

    def wait_for_rest(self, count: int) -> None:
        until = time.monotonic() + 60
        while self.server._http._waiting < count:
            assert time.monotonic() < until, f"{self.server._http._waiting} of {count} have come"
            time.sleep(0.005)

    def wait_for_grpc(self, count: int) -> None:
        """What has come is seen by the thread that answers, which is held: its looking is done here in its place."""
        transport, until = self.server._grpc, time.monotonic() + 60
        assert isinstance(transport, NativeGrpcTransport)
        while transport._backlog.waiting < count:
            assert time.monotonic() < until, f"{transport._backlog.waiting} of {count} have come"
            transport._admit(transport._receive(CLIENTS, timeout_ms=50) or [])

    def stop(self) -> None:
        self.go_on.set()
        self._channel.close()
        self.server.stop()


@pytest.fixture
def held():
    made = Held()
    yield made
    made.stop()


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_of_thirty_two_clients_the_mean_run_has_more_than_eight_rows_and_each_gets_its_own(held, protocol):
    ask = held.over_grpc if protocol == "grpc" else held.over_rest
    with ThreadPoolExecutor(CLIENTS + 1) as clients:
        first = clients.submit(ask, 0.5)
        assert held.predictor.entered.wait(60)
        together = [clients.submit(ask, value) for value in VALUES]
        # REST counts what it answers now among those that wait.
        held.wait_for_grpc(CLIENTS) if protocol == "grpc" else held.wait_for_rest(CLIENTS + 1)
        held.go_on.set()
        assert first.result(60) == [1.0]
        answered = [one.result(60) for one in together]
    runs = list(held.predictor.runs)
    assert sum(runs) == CLIENTS + 1
    assert sum(runs) / len(runs) > 8, runs
    assert answered == [ask(value) for value in VALUES]
    assert held.predictor.runs[len(runs) :] == [1] * CLIENTS
