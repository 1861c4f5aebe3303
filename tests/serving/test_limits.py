"""Limits of endpoints: what is beyond them is refused at once, and other endpoints do not notice."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from servers import publish, served

from carrara.core.config import read_configuration, read_limits
from carrara.core.errors import ConfigurationError, Overloaded, RequestError
from carrara.serving.contract import Choice, Endpoint, Target
from carrara.serving.inference import Inference
from carrara.serving.limits import Limit, Limits
from carrara.serving.manager import ModelManager
from carrara.serving.options import Wire
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.requests import Request
from carrara.serving.server import ModelServer

INPUTS = {"x": np.array([1.0], np.float32), "name": np.array(["a"], dtype=object)}
OTHER = Endpoint("other", (Target("other", "other", 1),))


def test_a_rate_refills_with_time_and_what_was_unused_lasts_a_second():
    now = [0.0]
    limits = Limits({"a": Limit(requests_per_second=10)}, clock=lambda: now[0])
    assert [error is None for error in limits.enter([("a", 1)] * 12)] == [True] * 10 + [False] * 2
    now[0] = 0.35
    assert [error is None for error in limits.enter([("a", 1)] * 4)] == [True] * 3 + [False]
    now[0] = 100.0
    assert [error is None for error in limits.enter([("a", 1)] * 11)].count(True) == 10
    assert limits.enter([("b", 1_000)]) == [None]


def test_what_is_under_way_counts_until_it_has_ended():
    limits = Limits({"a": Limit(concurrent=3)})
    first, second, third = limits.enter([("a", 2), ("a", 2), ("a", 1)])
    assert (first, third) == (None, None)
    assert str(second).startswith("endpoint 'a' takes 3 requests at a time")
    limits.leave([("a", 2)])
    assert limits.enter([("a", 2)]) == [None]


def test_each_of_several_processes_has_its_part():
    assert Limit(100, 5, 7).shared_by(4) == Limit(25, 2, 7)
    assert Limit().shared_by(4) == Limit()


def test_calls_that_are_one_block_are_let_in_as_far_as_they_fit():
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    manager.reconcile()
    inference = Inference(manager, limits=Limits({"doubling": Limit(concurrent=4)}))
    found = inference.answer_all([Request(Choice("doubling"), INPUTS)] * 6)
    assert [isinstance(one, Overloaded) for one in found] == [False] * 4 + [True] * 2
    assert len(inference.answer_all([Request(Choice("doubling"), INPUTS)] * 4)) == 4


def test_a_request_of_more_rows_than_its_endpoint_takes_is_wrong_and_uses_nothing_of_the_limit():
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    manager.reconcile()
    inference = Inference(manager, limits=Limits({"doubling": Limit(concurrent=1, rows=3)}))
    two = {"x": np.ones(2, np.float32), "name": np.array(["a"] * 2, dtype=object)}
    four = {"x": np.ones(4, np.float32), "name": np.array(["a"] * 4, dtype=object)}
    refused, answered = inference.answer_all([Request(Choice("doubling"), four), Request(Choice("doubling"), two)])
    assert isinstance(refused, RequestError)
    assert str(refused).startswith("endpoint 'doubling' takes 3 rows a request, and this one has 4")
    assert answered.outputs["doubled"].tolist() == [2.0, 2.0]
    (block,) = inference.answer_all([Request(Choice("doubling"), four, calls=1)])
    assert isinstance(block, RequestError)


def test_a_folders_server_has_limits_and_a_largest_message_too(tmp_path):
    publish(tmp_path / "model", 1)
    (tmp_path / "limits.toml").write_text("[default]\nrows = 2\n")
    options = [f"--model_base_path={tmp_path / 'model'}", f"--limits={tmp_path / 'limits.toml'}", "--max-message=1MB"]
    with served(*options, "--grpc_channel_arguments=grpc.absolute_max_metadata_size=4000", cwd=tmp_path) as server:
        assert server.predict("default") == 1.0
        assert server.ask("/v1/models/default:predict", {"instances": [1.0] * 3})[0] == 400
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
        connection.putrequest("POST", "/v1/models/default:predict")
        connection.putheader("content-length", "1000001")
        connection.endheaders()
        assert connection.getresponse().status == 413
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            ask = channel.unary_unary(wire.PREDICT)
            assert ask(wire.encode_request("default", {"x": np.ones(2, np.float32)}), timeout=20)
            for values, more in ((250_000, ()), (2, (("much", "x" * 10_000),))):
                with pytest.raises(grpc.RpcError) as raised:
                    ask(wire.encode_request("default", {"x": np.ones(values, np.float32)}), timeout=20, metadata=more)
                assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def held():
    """Two endpoints; the model of the limited one is held."""
    hold = threading.Event()
    predictors = {"doubling": Doubling(1, hold), "other": Doubling()}
    manager = ModelManager(lambda: [endpoint(1), OTHER], lambda target: predictors[target.endpoint])
    limits = {"doubling": Limit(concurrent=2)}
    server = ModelServer(manager, grpc_port=0, rest_port=0, wire=Wire(limits=limits))
    server.start()
    yield server, hold, predictors["doubling"]
    hold.set()
    server.stop(5)


def rest(server: ModelServer, name: str) -> tuple[int, str | None]:
    body = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
    address = f"http://127.0.0.1:{server.rest_port}/v1/models/{name}:predict"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=20) as reply:
            return reply.status, None
    except urllib.error.HTTPError as error:
        return error.code, error.headers["retry-after"]


def test_rest_refuses_what_is_beyond_the_limit_at_once_and_others_go_on(held):
    server, hold, predictor = held
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(rest, server, "doubling")
        assert predictor.entered.wait(20)
        assert rest(server, "other") == (200, None)
        server.inference._limits.enter([("doubling", 1)])
        assert rest(server, "doubling") == (429, "1")
        server.inference._limits.leave([("doubling", 1)])
        hold.set()
        assert first.result() == (200, None)
    assert [rest(server, "doubling")[0] for _ in range(5)] == [200] * 5


def test_grpc_refuses_what_is_beyond_the_limit_and_says_when_to_ask_again(held):
    server, hold, _ = held
    hold.set()
    data = wire.encode_request("doubling", INPUTS)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        ask = channel.unary_unary(wire.PREDICT)
        assert ask(data, timeout=20)
        server.inference._limits.enter([("doubling", 2)])
        with pytest.raises(grpc.RpcError) as raised:
            ask(data, timeout=20)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "endpoint 'doubling' takes 2 requests at a time" in raised.value.details()
        assert dict(raised.value.trailing_metadata())["retry-after"] == "1"
        assert ask(wire.encode_request("other", INPUTS), timeout=20)
        assert rest(server, "doubling") == (429, "1")
        server.inference._limits.leave([("doubling", 2)])
        assert ask(data, timeout=20)
        assert "RESOURCE_EXHAUSTED" in server.inference.metrics.exposition()


def test_limits_are_read_by_endpoint(tmp_path):
    path = tmp_path / "carrara.toml"
    path.write_text("[serving.limits.late]\nrequests_per_second = 50\n[serving.limits.other]\nconcurrent = 3\n")
    limits = read_configuration(tmp_path).serving.limits
    assert (limits["late"].requests_per_second, limits["late"].concurrent) == (50, 0)
    assert (limits["other"].requests_per_second, limits["other"].concurrent) == (0, 3)
    path.write_text("[serving.limits.late]\nrequest_per_second = 50\n")
    with pytest.raises(ConfigurationError, match="request_per_second"):
        read_configuration(tmp_path)
    path.write_text("[late]\nrows = 3\n")
    assert read_limits(path)["late"].rows == 3
    path.write_text("[late]\nrow = 3\n")
    with pytest.raises(ConfigurationError, match="Did you mean 'rows'"):
        read_limits(path)
    path.write_text("[serving]\nlimits = 3\n")
    with pytest.raises(ConfigurationError, match="is a section"):
        read_configuration(tmp_path)
