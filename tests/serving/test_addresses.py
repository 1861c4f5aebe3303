"""How a version is addressed: by its endpoint, by a label, and by an id that is its own wherever it is deployed."""

from __future__ import annotations

import json
import urllib.request

import grpc
import numpy as np
import pytest
from doubling import Doubling

from carrara.core.errors import NotFoundError
from carrara.serving.contract import Choice, Endpoint, Target
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.requests import Request
from carrara.serving.server import ModelServer

COUNT = 50
INPUTS = {"x": np.ones(1, np.float32), "name": np.array(["a"], object)}


def endpoints() -> list[Endpoint]:
    return [Endpoint(f"m{n}", (Target(f"m{n}", f"m{n}", n),), {"live": n}) for n in range(1, COUNT + 1)]


def labelled(endpoint: str, label: str) -> bytes:
    request = wire.parsed("tensorflow.serving.PredictRequest", wire.encode_request(endpoint, INPUTS))
    request.model_spec.version_label = label
    return request.SerializeToString()


@pytest.fixture(scope="module")
def server():
    made = ModelServer(ModelManager(endpoints, lambda target: Doubling(target.version)), grpc_port=0, rest_port=0)
    made.start()
    yield made
    made.stop()


def test_each_of_fifty_models_answers_by_its_id_and_by_its_label_over_grpc(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        predict = channel.unary_unary(wire.PREDICT)
        for n in range(1, COUNT + 1):
            for data in (wire.encode_request(f"id-{n}", INPUTS), labelled(f"m{n}", "live")):
                version, outputs = wire.decode_response(predict(data, timeout=20))
                assert (version, outputs["doubled"].tolist()) == (n, [2.0 * n])


def test_an_id_is_asked_over_rest_and_its_requests_are_those_of_the_endpoint(server):
    base = f"http://127.0.0.1:{server.rest_port}"
    body = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
    for path in ("m7", "id-7", "m7/labels/live"):
        with urllib.request.urlopen(f"{base}/v1/models/{path}:predict", body, timeout=20) as reply:
            assert json.load(reply)["predictions"][0]["doubled"] == 14.0
    with urllib.request.urlopen(f"{base}/v1/models/id-7", timeout=20) as reply:
        assert json.load(reply)["model_version_status"][0]["version"] == "7"
    with urllib.request.urlopen(f"{base}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    assert 'carrara_serving_requests_total{model="m7",method="Predict",protocol="REST",code="OK"} 3' in text
    assert 'model="id-7"' not in text


def test_an_id_means_nothing_once_its_version_is_gone_and_no_other_version_of_its_endpoint():
    served = endpoints()
    manager = ModelManager(lambda: served, lambda target: Doubling(target.version))
    inference = Inference(manager)
    manager.reconcile()
    assert inference.answer(Request(Choice("id-3"), INPUTS)).version == 3
    with pytest.raises(NotFoundError):
        inference.answer(Request(Choice("id-3", version=4), INPUTS))
    served = served[3:]
    manager.reconcile()
    with pytest.raises(NotFoundError):
        inference.answer(Request(Choice("id-3"), INPUTS))
