"""Both gRPC transports and HTTP, over real sockets, with what clients send right and wrong."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint

from carrara.core.errors import ConfigurationError, UnavailableError
from carrara.serving.client import Client
from carrara.serving.client.base import Busy
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.http import Reply
from carrara.serving.protocols.messages import message
from carrara.serving.server import ModelServer
from carrara.serving.transports.base import MAX_MESSAGE_BYTES
from carrara.serving.transports.grpc import GrpcTransport
from carrara.serving.transports.grpc_native import NativeGrpcTransport
from carrara.serving.transports.http import HttpTransport

NAMES = np.array(["a", "b"], dtype=object)
INPUTS = {"x": np.array([1.0, 2.0], np.float32), "name": NAMES}


def manager_of(predictor: Doubling) -> ModelManager:
    return ModelManager(lambda: [endpoint(predictor.version, stable=predictor.version)], lambda target: predictor)


@pytest.fixture(scope="module")
def server():
    made = ModelServer(manager_of(Doubling()), grpc_port=0, rest_port=0)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[NativeGrpcTransport, GrpcTransport], ids=["native", "grpcio"])
def call(request, server):
    calls = GrpcCalls(server.inference, server.manager)
    transport = request.param("127.0.0.1", 0, calls.methods, calls.handle, calls.streams)
    transport.start()
    with grpc.insecure_channel(f"127.0.0.1:{transport.port}") as channel:

        def send(data: bytes, method: str = wire.PREDICT) -> bytes:
            return channel.unary_unary(method)(data, timeout=20)

        yield send
    transport.stop(5)


def predict_request(name: str = "doubling", **changes):
    made = message("tensorflow.serving.PredictRequest").FromString(wire.encode_request(name, INPUTS))
    for field, value in changes.items():
        made.inputs["x"].MergeFrom(message("tensorflow.TensorProto")(**{field: value}))
    return made


def refused(call, data: bytes) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(data)
    return raised.value.code(), raised.value.details()


def test_a_prediction_goes_there_and_back_and_names_its_version(call):
    version, outputs = wire.decode_response(call(wire.encode_request("doubling", INPUTS)))
    assert version == 1
    assert outputs["doubled"].tolist() == [2.0, 4.0]
    assert outputs["name"].tolist() == ["a", "b"]


def test_the_status_of_an_endpoint_is_told(call):
    request = message("tensorflow.serving.GetModelStatusRequest")()
    request.model_spec.name = "doubling"
    answer = call(request.SerializeToString(), wire.GET_MODEL_STATUS)
    found = message("tensorflow.serving.GetModelStatusResponse").FromString(answer)
    assert [(s.version, s.state) for s in found.model_version_status] == [(1, 30)]


def test_an_unknown_endpoint_is_not_found_in_tensorflow_servings_words(call):
    code, details = refused(call, wire.encode_request("dubling", INPUTS))
    assert code == grpc.StatusCode.NOT_FOUND
    assert details.startswith("Servable not found for request: Latest(dubling)")


def test_an_unknown_version_is_not_found(call):
    made = predict_request()
    made.model_spec.version.value = 9
    code, details = refused(call, made.SerializeToString())
    assert code == grpc.StatusCode.NOT_FOUND
    assert "Specific(doubling, 9)" in details


def test_a_label_stands_for_its_version(call):
    made = predict_request()
    made.model_spec.version_label = "stable"
    assert wire.decode_response(call(made.SerializeToString()))[0] == 1
    made.model_spec.version_label = "stabel"
    code, details = refused(call, made.SerializeToString())
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details == "Unrecognized servable version label: stabel. Did you mean 'stable'?"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xff\xff\xff", "PredictRequest"),
        (b"", "Missing ModelSpec"),
    ],
)
def test_bytes_that_are_no_request_are_refused(call, data, says):
    code, details = refused(call, data)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert says in details


@pytest.mark.parametrize("shape", [[2**40, 2**40], [-1, 2], [3], [1, 2, 3], [2**62], [0, 2**62]])
def test_a_shape_that_lies_is_refused_before_anything_is_allocated(call, shape):
    made = predict_request()
    del made.inputs["x"].tensor_shape.dim[:]
    for length in shape:
        made.inputs["x"].tensor_shape.dim.add(size=length)
    code, details = refused(call, made.SerializeToString())
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "'x'" in details


def test_a_message_that_is_too_large_is_refused_and_the_next_is_answered(call):
    large = predict_request(tensor_content=b"\0" * MAX_MESSAGE_BYTES).SerializeToString()
    code, details = refused(call, large)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in details
    assert wire.decode_response(call(wire.encode_request("doubling", INPUTS)))[0] == 1


def test_a_string_for_a_number_is_refused_by_name(call):
    code, details = refused(call, wire.encode_request("doubling", {"x": NAMES, "name": NAMES}))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "'x'" in details


def test_many_clients_at_once_get_their_own_answers(call):
    def ask(number: int) -> bool:
        inputs = {"x": np.array([float(number)], np.float32), "name": np.array([str(number)], dtype=object)}
        _, outputs = wire.decode_response(call(wire.encode_request("doubling", inputs)))
        return (outputs["doubled"][0], outputs["name"][0]) == (2.0 * number, str(number))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(400)))


def rest(server: ModelServer, method: str, path: str, body: bytes | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    connection.request(method, path, body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


PREDICT = "/v1/models/doubling:predict"


def test_rest_answers_rows_with_rows_and_columns_with_columns(server):
    rows = {"instances": [{"x": 1.5, "name": "a"}, {"x": 2, "name": "b"}]}
    status, data = rest(server, "POST", PREDICT, json.dumps(rows).encode())
    assert status == 200
    assert json.loads(data) == {"predictions": [{"doubled": 3.0, "name": "a"}, {"doubled": 4.0, "name": "b"}]}
    columns = {"inputs": {"x": [1.5, 2], "name": ["a", "b"]}}
    _, data = rest(server, "POST", "/v1/models/doubling/versions/1:predict", json.dumps(columns).encode())
    assert json.loads(data) == {"outputs": {"doubled": [3.0, 4.0], "name": ["a", "b"]}}
    _, data = rest(server, "POST", "/v1/models/doubling/labels/stable:predict", json.dumps(rows).encode())
    assert json.loads(data)["predictions"][0] == {"doubled": 3.0, "name": "a"}


def test_rest_tells_the_status_and_the_health(server):
    status, data = rest(server, "GET", "/v1/models/doubling")
    assert (status, json.loads(data)["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    for part in ("versions/1", "labels/stable"):
        assert rest(server, "GET", f"/v1/models/doubling/{part}") == (status, data)
    assert rest(server, "GET", "/v1/models/doubling/versions/2")[0] == 404
    assert [rest(server, "GET", f"/v2/health/{probe}")[0] for probe in ("live", "ready")] == [200, 200]


@pytest.mark.parametrize(
    ("path", "body", "code", "says"),
    [
        (PREDICT, b'{"instances": [', 400, "JSON"),
        (PREDICT, b"[" * 100_000, 400, ""),
        (PREDICT, b"{}", 400, "instances"),
        (PREDICT, b'{"instances": [], "inputs": {}}', 400, "only one of"),
        (PREDICT, b'{"instances": []}', 400, "instances"),
        (PREDICT, b'{"instances": [{"x": 1, "name": "a"}, {"x": 1}]}', 400, "row 1"),
        (PREDICT, b'{"instances": [{"x": "1", "name": "a"}]}', 400, "'x'"),
        (PREDICT, b'{"instances": [{"x": 1, "name": 2}]}', 400, "'name'"),
        (PREDICT, b'{"instances": [{"x": [1], "name": "a"}]}', 400, "2 dimensions"),
        (PREDICT, b'{"instances": [{"x": 1, "nam": "a"}]}', 400, "'nam'"),
        (PREDICT, b'{"inputs": {"x": [1, 2], "name": ["a"]}}', 400, "rows"),
        (PREDICT, b'{"instances": [{"x": 1, "name": "a"}], "signature_name": 5}', 400, "signature_name"),
        (PREDICT, b'{"instances": [{"x": 1, "name": "a"}], "signature_name": "other"}', 400, "Serving signature key"),
        ("/v1/models/dubling:predict", b'{"instances": [{"x": 1, "name": "a"}]}', 404, "doubling"),
        ("/v1/models/doubling/versions/7:predict", b'{"instances": [{"x": 1, "name": "a"}]}', 404, "Specific"),
        ("/v1/models/doubling:predicts", b"{}", 400, "Malformed request: POST"),
    ],
)
def test_rest_refuses_what_makes_no_sense_with_a_reason(server, path, body, code, says):
    status, data = rest(server, "POST", path, body)
    assert status == code
    assert says in json.loads(data)["error"]


def test_a_missing_number_is_null_in_json_and_nan_inside(server):
    status, data = rest(server, "POST", PREDICT, b'{"instances": [{"x": null, "name": "a"}]}')
    assert status == 200
    value = json.loads(data)["predictions"][0]["doubled"]
    assert value is None or math.isnan(value)


def test_a_body_beyond_the_limit_is_refused_without_being_read(server):
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\n\r\n".encode())
        assert b"413" in connection.recv(1024)


def test_requests_under_way_are_answered_when_the_server_stops():
    """P7: a drain refuses new work and finishes what it has, on both protocols."""
    hold = threading.Event()
    predictor = Doubling(1, hold)
    server = ModelServer(manager_of(predictor), grpc_port=0, rest_port=0)
    server.start()
    rows = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel, ThreadPoolExecutor(3) as pool:
        over_rest = pool.submit(rest, server, "POST", PREDICT, rows)
        assert predictor.entered.wait(20)
        predictor.entered.clear()
        over_grpc = pool.submit(channel.unary_unary(wire.PREDICT), wire.encode_request("doubling", INPUTS), timeout=20)
        assert predictor.entered.wait(20)
        stopping = pool.submit(server.stop, 20)
        hold.set()
        assert over_rest.result()[0] == 200
        assert wire.decode_response(over_grpc.result())[1]["doubled"].tolist() == [2.0, 4.0]
        stopping.result()
    assert predictor.closed


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_whatever_was_predicted_is_answered_when_the_server_stops(scheme):
    """P7: what was run reaches its client, and what does not was not run, so that it may be asked elsewhere."""
    for _ in range(4):
        predictor, answered = Doubling(), []
        server = ModelServer(manager_of(predictor), grpc_port=0, rest_port=0)
        server.start()
        address = f"{scheme}://127.0.0.1:{server.grpc_port if scheme == 'grpc' else server.rest_port}"

        def keep_asking(address: str = address, answered: list[int] = answered) -> None:
            with Client(address, retries=0, timeout=20) as client, suppress(Busy):
                while True:
                    answered.append(client.predict("doubling", {"x": [1.0], "name": ["a"]}).version)

        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(keep_asking) for _ in range(3)]
            while len(answered) < 20:
                time.sleep(0.002)
            server.stop(10)
            for one in asking:
                one.result()
        assert sum(predictor.runs) == len(answered)


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for ports in ({"grpc_port": port, "rest_port": 0}, {"grpc_port": 0, "rest_port": port}):
            with pytest.raises(UnavailableError, match=str(port)):
                ModelServer(manager_of(Doubling()), **ports)


def test_the_server_refuses_to_listen_beyond_loopback():
    with pytest.raises(ConfigurationError, match="without tokens and TLS"):
        ModelServer(manager_of(Doubling()), host="0.0.0.0", grpc_port=0, rest_port=0)


def test_a_started_server_refuses_no_connection():
    for _ in range(20):
        transport = HttpTransport("127.0.0.1", 0, lambda requests: [Reply(200, b"{}")] * len(requests))
        transport.start()
        connection = http.client.HTTPConnection("127.0.0.1", transport.port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        transport.stop(5)


def test_what_waits_for_a_slow_model_is_answered_as_one_batch_and_a_probe_does_not_wait():
    sizes, begun, go_on = [], threading.Event(), threading.Event()

    def answer(requests):
        if requests[0].method == "POST":
            sizes.append(len(requests))
            begun.set()
            go_on.wait(20)
        return [Reply(200, b"{}") for _ in requests]

    def ask(method):
        connection = http.client.HTTPConnection("127.0.0.1", transport.port, timeout=20)
        connection.request(method, "/")
        return connection.getresponse().status

    transport = HttpTransport("127.0.0.1", 0, answer)
    transport.start()
    with ThreadPoolExecutor(10) as clients:
        asked = [clients.submit(ask, "POST") for _ in range(10)]
        assert begun.wait(20)
        assert ask("GET") == 200
        go_on.set()
        assert [one.result() for one in asked] == [200] * 10
    transport.stop(5)
    assert sum(sizes) == 10
    assert len(sizes) < 10
