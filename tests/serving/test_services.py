"""Health, reflection and metrics, as their own clients ask for them, over both gRPC transports."""

from __future__ import annotations

import urllib.request

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from grpc_health.v1 import health_pb2, health_pb2_grpc

from carrara.serving.contract import Endpoint
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import health, tensorflow_serving as wire
from carrara.serving.protocols.messages import message
from carrara.serving.server import ModelServer
from carrara.serving.transports.grpc import GrpcTransport
from carrara.serving.transports.grpc_native import NativeGrpcTransport

INPUTS = {"x": np.array([1.0, 2.0], np.float32), "name": np.array(["a", "b"], dtype=object)}


@pytest.fixture(scope="module")
def server():
    predictor = Doubling()
    made = ModelServer(ModelManager(lambda: [endpoint(1)], lambda _: predictor), grpc_port=0, rest_port=0)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[NativeGrpcTransport, GrpcTransport], ids=["native", "grpcio"])
def channel(request, server):
    calls = GrpcCalls(server.inference, server.manager)
    transport = request.param("127.0.0.1", 0, calls.methods, calls.handle, calls.streams)
    transport.start()
    with grpc.insecure_channel(f"127.0.0.1:{transport.port}") as made:
        yield made
    transport.stop(5)


def checked(channel, service: str) -> int:
    request = message("grpc.health.v1.HealthCheckRequest")(service=service).SerializeToString()
    answer = channel.unary_unary(health.CHECK)(request, timeout=20)
    return message("grpc.health.v1.HealthCheckResponse").FromString(answer).status


def test_the_server_its_services_and_its_models_are_healthy(channel):
    for service in ("", "doubling", "tensorflow.serving.PredictionService", "inference.GRPCInferenceService"):
        assert checked(channel, service) == health.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        checked(channel, "dubling")
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_can_be_watched_until_one_has_seen_enough(channel):
    request = message("grpc.health.v1.HealthCheckRequest")(service="doubling").SerializeToString()
    watched = channel.unary_stream(health.WATCH)(request, timeout=20)
    assert message("grpc.health.v1.HealthCheckResponse").FromString(next(watched)).status == health.SERVING
    watched.cancel()


def test_a_probe_with_grpcs_own_stubs_asks_the_server_and_a_model(channel):
    """As grpc_health_probe does: Check, and its exit code by what comes back."""
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "doubling"):
        asked = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(asked, timeout=20).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        stub.Check(health_pb2.HealthCheckRequest(service="dubling"), timeout=20)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    watched = stub.Watch(health_pb2.HealthCheckRequest(service="dubling"), timeout=20)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watched.cancel()


def test_a_probe_sees_a_server_begin_and_cease_to_serve():
    wanted: list[Endpoint] = []
    manager = ModelManager(lambda: wanted, lambda _: Doubling(), poll_seconds=0.02)
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub, anything = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
        watched = stub.Watch(anything, timeout=60)
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        wanted.append(endpoint(1))
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        assert stub.Check(anything, timeout=20).status == health_pb2.HealthCheckResponse.SERVING
        wanted.clear()
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watched.cancel()
    server.stop(5)


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_reflection_lists_services_and_describes_their_messages(channel, package):
    from google.protobuf import descriptor_pb2, descriptor_pool

    kind = message(f"{package}.ServerReflectionRequest")
    asked = [
        kind(list_services="*"),
        kind(file_containing_symbol="tensorflow.serving.PredictionService"),
        kind(file_by_filename="inference/open_inference.proto"),
        kind(file_containing_symbol="nothing.Here"),
        kind(all_extension_numbers_of_type="tensorflow.TensorProto"),
    ]
    method = f"/{package}.ServerReflection/ServerReflectionInfo"
    replies = channel.stream_stream(method)(iter([one.SerializeToString() for one in asked]), timeout=20)
    listed, service, file, missing, extensions = (
        message(f"{package}.ServerReflectionResponse").FromString(reply) for reply in replies
    )
    names = [one.name for one in listed.list_services_response.service]
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health"} <= {
        *names
    }
    pool = descriptor_pool.DescriptorPool()
    for data in service.file_descriptor_response.file_descriptor_proto:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(data))
    methods = pool.FindServiceByName("tensorflow.serving.PredictionService").methods_by_name
    assert methods["Predict"].input_type.full_name == "tensorflow.serving.PredictRequest"
    assert len(file.file_descriptor_response.file_descriptor_proto) == 1
    assert missing.error_response.error_code == 5
    assert extensions.all_extension_numbers_response.base_type_name == "tensorflow.TensorProto"


def test_a_method_that_is_not_there_is_unimplemented(channel):
    profiler = "/tensorflow.ProfilerService/Profile"
    for method in ("/tensorflow.serving.SessionService/SessionRun", profiler, "/nothing.Here/Ask"):
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(method)(b"", timeout=20)
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_requests_are_counted_under_tensorflow_servings_names(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        for _ in range(3):
            channel.unary_unary(wire.PREDICT)(wire.encode_request("doubling", INPUTS), timeout=20)
        for name, inputs in (("doubling", {}), ("nobody", INPUTS)):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(wire.PREDICT)(wire.encode_request(name, inputs), timeout=20)
    body = b'{"instances": [{"x": 1.5, "name": "a"}]}'
    url = f"http://127.0.0.1:{server.rest_port}"
    urllib.request.urlopen(f"{url}/v1/models/doubling:predict", body, timeout=20).read()
    text = urllib.request.urlopen(f"{url}/monitoring/prometheus/metrics", timeout=20).read().decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines[':tensorflow:serving:request_count{model_name="doubling",status="OK"}'] == "4"
    assert lines[':tensorflow:serving:request_count{model_name="doubling",status="INVALID_ARGUMENT"}'] == "1"
    labels = 'model_name="doubling",API="Predict"'
    assert lines[f':tensorflow:serving:request_latency_count{{{labels},entrypoint="GRPC"}}'] == "4"
    assert lines[f':tensorflow:serving:request_latency_bucket{{{labels},entrypoint="REST",le="+Inf"}}'] == "1"
    assert lines[':tensorflow:serving:request_example_count_total{model="doubling"}'] == "7"
    runtime = 'model_name="doubling",API="Predict",runtime="carrara"'
    assert lines[f":tensorflow:serving:runtime_latency_count{{{runtime}}}"] == "4"
    session = ":tensorflow:serving:batching_session"
    assert lines[f'{session}:wrapped_run_count{{model_name="doubling"}}'] == "4"
    assert lines[f'{session}:processed_batch_size_sum{{model_name="doubling"}}'] == "7.0"
    name = 'carrara_serving_requests_total{model="doubling",method="Predict",protocol="REST",code="OK"}'
    assert lines[name] == "1"
    assert "nobody" not in text
    assert urllib.request.urlopen(f"{url}/metrics", timeout=20).headers["content-type"].startswith("text/plain")
