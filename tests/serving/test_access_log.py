"""The access log: a line for each request, of every transport, whether it was answered, refused or wrong."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint

from carrara.core.errors import ConfigurationError, Unauthenticated
from carrara.serving.access_log import AccessLog, Subject
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.guard import Guard
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.server import ModelServer
from carrara.serving.transports.backlog import Backlog
from carrara.serving.transports.grpc import GrpcTransport

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IDS = (("x-request-id", "r-1"), ("traceparent", TRACEPARENT))
PREDICT = wire.PREDICT


def inputs(*values: float) -> dict:
    return {"x": np.array(values, np.float32), "name": np.array(["a"] * len(values), dtype=object)}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def status(address: str, body: dict | None = None) -> int:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, dict(IDS)), timeout=20) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


class Serving:
    """A server of `doubling` with an access log, which is read when it has ended."""

    def __init__(self, path: Path, predictor: Doubling | None = None, **options) -> None:
        self.path, self.access = path, AccessLog(path)
        self.manager = ModelManager(lambda: [endpoint(1)], lambda target: predictor or Doubling())
        self.server = ModelServer(self.manager, grpc_port=0, rest_port=0, access=self.access, **options)
        self.server.start()

    def lines(self) -> list[dict]:
        self.server.stop(5)
        self.access.close()
        return lines(self.path)


def test_a_call_over_grpc_is_told_with_endpoint_version_rows_and_ids(tmp_path):
    serving = Serving(tmp_path / "access.jsonl")
    with grpc.insecure_channel(f"127.0.0.1:{serving.server.grpc_port}") as channel:
        ask = channel.unary_unary(wire.PREDICT)
        for _ in range(3):
            ask(wire.encode_request("doubling", inputs(1, 2)), metadata=IDS, timeout=20)
        for name, value in (("doubling", -1), ("nowhere", 1)):
            with pytest.raises(grpc.RpcError):
                ask(wire.encode_request(name, inputs(value)), timeout=20)
    *answered, wrong, lost = serving.lines()
    assert len(answered) == 3
    for line in answered:
        assert line["protocol"] == "gRPC"
        assert line["method"] == PREDICT
        assert (line["endpoint"], line["version"], line["rows"], line["status"]) == ("doubling", 1, 2, "OK")
        assert (line["request_id"], line["traceparent"]) == ("r-1", TRACEPARENT)
        assert 0 < line["latency_ms"] < 20_000
        assert line["time"].endswith("+00:00")
        assert "127.0.0.1" in line["client"]
    assert (wrong["endpoint"], wrong["status"], "version" in wrong) == ("doubling", "INVALID_ARGUMENT", False)
    assert (lost["endpoint"], lost["status"]) == ("nowhere", "NOT_FOUND")


def test_a_request_over_http_is_told_without_its_query(tmp_path):
    serving = Serving(tmp_path / "access.jsonl")
    base = f"http://127.0.0.1:{serving.server.rest_port}"
    row = {"x": 1.0, "name": "a"}
    predict = f"{base}/v1/models/doubling:predict"
    assert status(predict, {"instances": [row] * 3}) == 200
    assert status(predict, {"instances": 1}) == 400
    assert status(f"{base}/nothing?token=secret") == 404
    answered, wrong, lost = serving.lines()
    assert (answered["protocol"], answered["method"]) == ("HTTP", "POST")
    assert answered["path"] == "/v1/models/doubling:predict"
    assert (answered["endpoint"], answered["version"], answered["rows"]) == ("doubling", 1, 3)
    assert (answered["status"], answered["request_id"], answered["traceparent"]) == (200, "r-1", TRACEPARENT)
    assert (wrong["status"], lost["status"], lost["path"]) == (400, 404, "/nothing")
    assert "secret" not in serving.path.read_text()


def test_grpcio_tells_the_same_and_who_was_not_let_in(tmp_path):
    def nobody(text: str):
        if text != "good":
            raise Unauthenticated
        return

    access = AccessLog(tmp_path / "access.jsonl")
    manager = ModelManager(lambda: [endpoint(1)], lambda target: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    manager.start()
    calls = GrpcCalls(server.inference, manager)
    transport = GrpcTransport("127.0.0.1", 0, calls.methods, calls.handle, guard=Guard(nobody), access=access)
    transport.start()
    data = wire.encode_request("doubling", inputs(1))
    with grpc.insecure_channel(f"127.0.0.1:{transport.port}") as channel:
        ask = channel.unary_unary(wire.PREDICT)
        ask(data, metadata=(*IDS, ("authorization", "Bearer good")), timeout=20)
        with pytest.raises(grpc.RpcError):
            ask(data, metadata=(("authorization", "Bearer bad"),), timeout=20)
    transport.stop(5)
    access.close()
    manager.stop()
    answered, refused = lines(tmp_path / "access.jsonl")
    assert (answered["endpoint"], answered["version"], answered["rows"], answered["status"]) == ("doubling", 1, 1, "OK")
    assert (answered["request_id"], answered["traceparent"]) == ("r-1", TRACEPARENT)
    assert (refused["method"], refused["status"]) == (PREDICT, "UNAUTHENTICATED")
    assert "bad" not in (tmp_path / "access.jsonl").read_text()


def test_what_is_refused_at_overload_or_given_up_by_its_client_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("carrara.serving.transports.grpc_native._MOST_CALLS", 1)
    hold = threading.Event()
    predictor = Doubling(1, hold)
    serving = Serving(tmp_path / "access.jsonl", predictor)
    serving.server._grpc._backlog = Backlog(most=1)
    data = wire.encode_request("doubling", inputs(1))
    with grpc.insecure_channel(f"127.0.0.1:{serving.server.grpc_port}") as channel:
        ask = channel.unary_unary(wire.PREDICT)
        first = ask.future(data, timeout=20)
        assert predictor.entered.wait(20)
        late = ask.future(data, timeout=1)  # It has to be on its way before that.
        assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        others = [ask.future(data, timeout=20) for _ in range(5)]
        hold.set()
        codes = [one.code().name for one in [first, *others]]
    told = [line["status"] for line in serving.lines()]
    assert sorted(told) == sorted([*codes, "CANCELLED"])
    assert "RESOURCE_EXHAUSTED" in told


def test_a_log_that_is_moved_away_goes_on_in_a_new_file(tmp_path):
    path = tmp_path / "access.jsonl"
    log = AccessLog(path)
    log.ended(0.0, "HTTP", "GET", 200, {}, "", path="/first")
    log._outbox.flush()
    path.rename(tmp_path / "access.jsonl.1")
    log.ended(0.0, "HTTP", "GET", 200, {}, "", path="/second")
    log.close()
    assert [line["path"] for line in lines(tmp_path / "access.jsonl.1")] == ["/first"]
    assert [line["path"] for line in lines(path)] == ["/second"]


def test_texts_of_clients_are_cut_and_make_no_lines_of_their_own(tmp_path):
    path = tmp_path / "access.jsonl"
    log = AccessLog(path)
    headers = {"x-request-id": 'a"\n{"status": 200}'}
    log.ended(0.0, "HTTP", "GET", 404, headers, "", path="/" + "x" * 10_000, subject=Subject("y" * 10_000))
    log.close()
    (line,) = lines(path)
    assert line["request_id"] == headers["x-request-id"]
    assert len(line["path"]) == len(line["endpoint"]) == 256


def test_a_disk_that_takes_nothing_costs_lines_and_no_request(caplog):
    log = AccessLog(Path("/dev/full"))
    log.ended(0.0, "HTTP", "GET", 200, {}, "", path="/")
    log.close()
    assert "the access log lacks 1 requests" in caplog.text


def test_a_log_in_no_folder_is_refused_at_the_start(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written: No such file or directory"):
        AccessLog(tmp_path / "nowhere" / "access.jsonl")


def test_without_a_log_no_details_are_asked_for():
    manager = ModelManager(lambda: [endpoint(1)], lambda target: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        channel.unary_unary(wire.PREDICT)(wire.encode_request("doubling", inputs(1)), timeout=20)
    assert server._grpc._came == {}
    server.stop(5)
