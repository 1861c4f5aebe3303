"""NVIDIA's own client of the Open Inference Protocol, gRPC and HTTP, unchanged, against our server."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from doubling import Doubling, endpoint

from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer

X = np.array([1.5, -0.0, np.nan], np.float32)
NAMES = np.array(["a", "ü", ""], dtype=object)


@pytest.fixture(scope="module")
def server():
    predictor = Doubling()
    made = ModelServer(ModelManager(lambda: [endpoint(1, stable=1)], lambda _: predictor), grpc_port=0, rest_port=0)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[over_grpc, over_http], ids=["gRPC", "HTTP"])
def library(request):
    return request.param


@pytest.fixture(scope="module")
def client(server, library):
    port = server.grpc_port if library is over_grpc else server.rest_port
    made = library.InferenceServerClient(f"127.0.0.1:{port}")
    yield made
    made.close()


def inputs(library, **options):
    made = []
    for name, values, datatype in (("x", X, "FP32"), ("name", NAMES, "BYTES")):
        tensor = library.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **options)
        made.append(tensor)
    return made


def check(result) -> None:
    np.testing.assert_array_equal(result.as_numpy("doubled"), X * 2)
    texts = [value.decode() if isinstance(value, bytes) else value for value in result.as_numpy("name")]
    assert texts == NAMES.tolist()


def test_the_server_and_its_models_are_alive_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("doubling")
    assert client.is_model_ready("doubling", "1")


def test_the_server_says_what_it_is(client, library):
    found = client.get_server_metadata(**({"as_json": True} if library is over_grpc else {}))
    assert found["name"] == "carrara"
    assert "binary_tensor_data" in found["extensions"]


def test_a_model_says_its_tensors(client, library):
    found = client.get_model_metadata("doubling", **({"as_json": True} if library is over_grpc else {}))
    assert (found["name"], found["versions"]) == ("doubling", ["1"])
    assert [(tensor["name"], tensor["datatype"]) for tensor in found["inputs"]] == [("x", "FP32"), ("name", "BYTES")]
    assert [int(size) for size in found["outputs"][0]["shape"]] == [-1]


def test_tensors_go_there_and_back_as_bytes(client, library):
    result = client.infer("doubling", inputs(library), request_id="r1")
    check(result)
    response = result.get_response()
    assert (response["id"] if library is over_http else response.id) == "r1"


def test_a_version_or_a_label_can_be_asked(client, library):
    for version in ("1", "stable"):
        check(client.infer("doubling", inputs(library), model_version=version))


def test_only_wanted_outputs_come_back(client, library):
    result = client.infer("doubling", inputs(library), outputs=[library.InferRequestedOutput("doubled")])
    np.testing.assert_array_equal(result.as_numpy("doubled"), X * 2)
    assert result.as_numpy("name") is None


def test_tensors_go_there_and_back_as_json(server):
    with over_http.InferenceServerClient(f"127.0.0.1:{server.rest_port}") as client:
        outputs = [over_http.InferRequestedOutput(name, binary_data=False) for name in ("doubled", "name")]
        check(client.infer("doubling", inputs(over_http, binary_data=False), outputs=outputs))


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_bodies_may_be_packed(server, packing):
    with over_http.InferenceServerClient(f"127.0.0.1:{server.rest_port}") as client:
        check(
            client.infer(
                "doubling",
                inputs(over_http),
                request_compression_algorithm=packing,
                response_compression_algorithm=packing,
            )
        )


@pytest.mark.parametrize(
    ("model", "version", "says"),
    [("dubling", "", "Servable not found for request: Latest(dubling)"), ("doubling", "7", "Specific(doubling, 7)")],
)
def test_a_model_that_is_not_there_is_named(client, library, model, version, says):
    with pytest.raises(library.InferenceServerException) as raised:
        client.infer(model, inputs(library), model_version=version)
    assert says in str(raised.value)


def test_a_wrong_input_is_named(client, library):
    odd = library.InferInput("y", [1], "FP32")
    odd.set_data_from_numpy(np.zeros(1, np.float32))
    with pytest.raises(library.InferenceServerException, match="'y'"):
        client.infer("doubling", [odd])
