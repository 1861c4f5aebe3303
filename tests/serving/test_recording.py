"""A recording of runs: what a trace viewer draws, for as long as one records, and for those alone who may manage."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from doubling import Doubling, endpoint

from carrara.serving.management import NO_MANAGEMENT, Management
from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer


@pytest.fixture(params=[Management(allowed=True), NO_MANAGEMENT], ids=["managed", "not managed"])
def server(request):
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    made = ModelServer(manager, grpc_port=0, rest_port=0, management=request.param)
    made.start()
    yield made, request.param.allowed
    made.stop(1)


def post(server: ModelServer, path: str, data=None):
    asked = urllib.request.Request(f"http://127.0.0.1:{server.rest_port}{path}", json.dumps(data or {}).encode())
    try:
        with urllib.request.urlopen(asked, timeout=20) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code


def test_runs_are_recorded_with_their_errors_until_it_is_stopped(server):
    made, allowed = server

    def predict(value: float):
        return post(made, "/v1/models/doubling:predict", {"instances": [{"x": value, "name": "a"}]})

    predict(1.0)
    if not allowed:
        assert [post(made, f"/v1/trace:{what}") for what in ("start", "stop")] == [403, 403]
        return
    assert post(made, "/v1/trace:start") == {}
    predict(2.0)
    assert predict(-1.0) == 400
    events = post(made, "/v1/trace:stop")["traceEvents"]
    assert [event["args"].get("error") for event in events if event["name"] == "model.predict"] == [
        None,
        "RequestError",
    ]
    for event in events:
        assert (event["ph"], event["dur"] >= 0, event["ts"] > 1.7e15) == ("X", True, True)
    assert events[0]["args"] == {"model": "doubling", "version": 1, "calls": 1}
    predict(3.0)
    assert post(made, "/v1/trace:stop") == {"displayTimeUnit": "ms", "traceEvents": []}
