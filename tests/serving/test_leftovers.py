"""What connections and requests leave behind in a server that stays: nothing."""

from __future__ import annotations

import gc
import json
import socket
import time
import weakref
from collections import Counter
from typing import Any

import numpy as np
from doubling import NEWEST, Doubling, endpoint

from carrara.serving.contract import Prediction
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.observed import Observed
from carrara.serving.protocols.http import HttpRequest
from carrara.serving.requests import Request
from carrara.serving.server import ModelServer
from carrara.serving.transports.http1 import Connection, Exchange

BODY = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
PATH = "/v1/models/doubling:predict"


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "host: x", f"content-length: {len(BODY)}", *lines, "", ""]).encode()


WAYS = {
    "one that is answered, and its client leaves": head() + BODY,
    "one that is closed with its reply": head("connection: close") + BODY,
    "several ahead": 5 * (head() + BODY),
    "half a head": head()[:30],
    "half a body": head() + BODY[:5],
    "no HTTP": b"\x00\x01\x02\r\n\r\n",
}


def held() -> Counter[str]:
    gc.collect()
    kinds = (Connection, Exchange, HttpRequest)
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds))


def test_connections_leave_nothing_behind_however_they_end() -> None:
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    before = held()
    for _ in range(20):
        for data in WAYS.values():
            with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as client:
                client.sendall(data)
                if data.endswith(BODY) or data.startswith(b"\x00"):
                    assert client.recv(65536)
    until = time.monotonic() + 20
    while (after := held()) - before:
        assert time.monotonic() < until, after
        time.sleep(0.05)
    assert server._http._waiting == server._http._bytes == 0
    server.stop(1)


class Remembering(Doubling):
    """Remembers its last outputs, as long as anybody else does."""

    def predict(self, inputs: Any, signature_name: str = "") -> Prediction:
        found = super().predict(inputs, signature_name)
        self.last = weakref.ref(found.outputs["doubled"])
        return found


def test_what_was_answered_is_kept_only_where_somebody_looks() -> None:
    predictor = Remembering()
    manager = ModelManager(lambda: [endpoint(1)], lambda _: predictor)
    manager.reconcile()
    request = Request(NEWEST, {"x": np.ones(1, np.float32), "name": np.array(["a"], object)})
    for observed, kept in ((None, False), (Observed(), True)):
        Inference(manager, observed=observed).answer(request)
        gc.collect()
        assert (predictor.last() is not None) == kept
    manager.stop()
