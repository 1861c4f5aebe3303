"""OpenTelemetry traces, as a real receiver of OTLP gets them: from the request to the features and the model's run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from otlp_receiver import attributes, began, receiving
from servers import publish, served

from carrara.core.errors import ConfigurationError
from carrara.models.registry import resolve
from carrara.serving import traces
from carrara.serving.contract import Endpoint, Target
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.manager import ModelManager
from carrara.serving.options import Wire
from carrara.serving.predictor import open_predictor
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.server import ModelServer
from carrara.serving.traces import open_traces
from carrara.serving.transports.grpc import GrpcTransport

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=x"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
ROW = {"driver": "d1", "depot": "p0", "city": "c0", "distance": 80.0}
RPC = "tensorflow.serving.PredictionService/Predict"


@pytest.fixture
def receiver(monkeypatch):
    with receiving() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.address)
        yield made


class Traced:
    """A server whose requests are traced; `end` sends what was traced."""

    def __init__(self, manager: ModelManager) -> None:
        self._traces = open_traces()
        self.server = ModelServer(manager, grpc_port=0, rest_port=0, access=self._traces, wire=Wire(watch=True))
        self.server.start()

    def predict(self, name: str, inputs: dict, headers: dict = SAMPLED) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self.server.grpc_port}") as channel:
            data = wire.encode_request(name, inputs)
            channel.unary_unary(wire.PREDICT)(data, metadata=tuple(headers.items()), timeout=20)

    def http(self, path: str, body: dict | None = None, headers: dict = SAMPLED) -> int:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.rest_port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code

    def end(self) -> None:
        self.server.stop(5)
        self._traces.close()


def columns(row: dict) -> dict:
    return {name: np.array([value], object if isinstance(value, str) else np.float64) for name, value in row.items()}


def doubling(*values: float) -> dict:
    return {"x": np.array(values, np.float32), "name": np.array(["a"] * len(values), dtype=object)}


def test_a_trace_leads_from_the_request_to_the_features_and_the_models_run(receiver, trained):
    version = resolve(trained.stores, "late@1")
    served_ = Endpoint("late", (Target("late", "late", 1),))
    traced = Traced(ModelManager(lambda: [served_], lambda _: open_predictor(trained.stores, version)))
    traced.predict("late", columns(ROW))
    assert traced.http("/v1/models/late/versions/1:predict", {"instances": [ROW, ROW]}) == 200
    traced.end()
    (call,), (request,) = receiver.named(RPC), receiver.named("POST /v1/models/{model}/versions/{version}:predict")
    for span, rows in ((call, 1), (request, 2)):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert span.kind == 2
        assert (span.status.code, span.trace_state) == (0, "vendor=x")
        about = attributes(span)
        assert (about["carrara.endpoint"], about["carrara.rows"]) == ("late", rows)
        ((run, parts),) = receiver.tree(span)[1]
        assert (run, [part for part, _ in parts]) == ("model.predict", ["features.read", "model.run"])
        views = [view for view, _ in parts[0][1]]
        assert views == ["features.view"] * len(views)
        assert len(views) > 1
    assert {attributes(span)["client.address"] for span in (call, request)} == {"127.0.0.1"}
    assert attributes(call)["rpc.system.name"] == "grpc"
    assert attributes(call)["rpc.response.status_code"] == "OK"
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(request)["url.path"] == "/v1/models/late/versions/1:predict"
    for run in receiver.named("model.predict"):
        about = attributes(run)
        assert (about["carrara.model"], about["carrara.version"], about["carrara.calls"]) == ("late", 1, 1)
    resource = receiver.resource
    assert (resource["service.name"], resource["telemetry.sdk.name"]) == ("carrara", "opentelemetry")
    for span in receiver.spans:
        assert began(call) - 60e9 < began(span) <= span.end_time_unix_nano


def test_what_fails_says_where_and_paths_of_strangers_name_no_span(receiver):
    class Failing(Doubling):
        def predict(self, inputs, signature_name=""):
            raise ValueError("broken")

    traced = Traced(ModelManager(lambda: [endpoint(1)], lambda _: Failing()))
    assert traced.http("/v1/models/doubling:predict", {"instances": [{"x": 1.0, "name": "a"}]}) == 500
    assert traced.http("/wp-login.php") == 404
    with pytest.raises(grpc.RpcError):
        traced.predict("doubling", doubling(1))
    traced.end()
    (request,), (lost,) = receiver.named("POST /v1/models/{model}:predict"), receiver.named("GET")
    assert (request.status.code, attributes(request)["error.type"]) == (2, "500")
    assert "http.route" not in attributes(lost)
    assert lost.status.code == 0
    runs = receiver.named("model.predict")
    assert [attributes(run)["error.type"] for run in runs] == ["ValueError"] * 2
    (call,) = receiver.named(RPC)
    assert attributes(call)["error.type"] == "INTERNAL"


def test_a_client_that_does_not_sample_is_not_traced_and_a_sampler_decides_of_the_others(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")
    traced = Traced(ModelManager(lambda: [endpoint(1)], lambda _: Doubling()))
    for headers in (UNSAMPLED, {}, SAMPLED, {"traceparent": "00-nonsense"}):
        traced.predict("doubling", doubling(1), headers)
    traced.end()
    assert [span.trace_id.hex() for span in receiver.named(RPC)] == [TRACE]


def test_requests_that_were_joined_share_a_run_and_each_has_it_in_its_own_trace(receiver):
    made = open_traces()
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0, wire=Wire(watch=True))
    manager.start()
    calls = GrpcCalls(server.inference, manager)
    data = wire.encode_request("doubling", doubling(1))
    results = calls.handle([(wire.PREDICT, data)] * 3)
    for number, result in enumerate(results):
        headers = {"traceparent": f"00-{number + 1:032x}-{PARENT}-01"}
        made.ended(0.0, "gRPC", wire.PREDICT, "OK", headers, "", subject=result.subject)
    made.close()
    server._http._listener.close()
    server._grpc.stop(0)
    manager.stop()
    runs = receiver.named("model.predict")
    assert sorted(int(run.trace_id.hex(), 16) for run in runs) == [1, 2, 3]
    assert {attributes(run)["carrara.calls"] for run in runs} <= {2, 3}
    assert max(attributes(run)["carrara.calls"] for run in runs) >= 2


def test_grpcio_is_traced_too(receiver):
    made = open_traces()
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0, wire=Wire(watch=True))
    manager.start()
    calls = GrpcCalls(server.inference, manager)
    transport = GrpcTransport("127.0.0.1", 0, calls.methods, calls.handle, access=made)
    transport.start()
    with grpc.insecure_channel(f"127.0.0.1:{transport.port}") as channel:
        data = wire.encode_request("doubling", doubling(1))
        channel.unary_unary(wire.PREDICT)(data, metadata=tuple(SAMPLED.items()), timeout=20)
    transport.stop(5)
    made.close()
    server._http._listener.close()
    server._grpc.stop(0)
    manager.stop()
    (call,) = receiver.named(RPC)
    assert receiver.tree(call) == (RPC, [("model.predict", [])])
    assert attributes(call)["client.address"] == "127.0.0.1"


def test_more_than_can_be_told_is_counted_and_no_request_waits(receiver, monkeypatch, caplog):
    monkeypatch.setattr(traces, "_MOST_TOGETHER", 2)
    monkeypatch.setattr(traces, "_FLUSH_SECONDS", 60)
    made = open_traces()
    for _ in range(5):
        made.ended(0.0, "HTTP", "GET", 200, {}, "", path="/v2")
    made.close()
    assert len(receiver.spans) == 2
    assert "3 requests were not traced" in caplog.text


def test_the_command_traces_where_the_environment_names_a_receiver(receiver, monkeypatch, tmp_path):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "flights-server")
    publish(tmp_path / "m", 2)
    with served("--model_name=m", f"--model_base_path={tmp_path / 'm'}", cwd=tmp_path) as server:
        assert server.predict("m", 3.0) == 6.0
    (request,) = receiver.named("POST /v1/models/{model}:predict")
    assert receiver.tree(request)[1] == [("model.predict", [("model.run", [])])]
    assert receiver.resource["service.name"] == "flights-server"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_a_receiver_is_named(environment):
    assert open_traces(environment=environment) is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "not sent by 'grpc'"),
    ],
)
def test_what_is_asked_and_not_here_is_named(environment, says):
    with pytest.raises(ConfigurationError, match=says):
        open_traces(environment=environment)
