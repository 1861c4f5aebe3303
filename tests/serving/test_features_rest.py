"""Features by keys over REST, and predictions by entity keys with the features that were used, on every protocol."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial

import grpc
import numpy as np
import pytest
from jsonschema_rs import is_valid

from carrara.models.registry import resolve
from carrara.serving.contract import Endpoint, Target
from carrara.serving.manager import ModelManager
from carrara.serving.outcomes import take_outcomes
from carrara.serving.predictor import open_predictor
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.messages import message
from carrara.serving.server import ModelServer

ROWS = [
    {"driver": "d1", "depot": "p0", "city": "c0", "distance": 80.0, "event_time": "2024-01-20T00:00:00Z"},
    {"driver": "d2", "depot": "p1", "city": "c1", "distance": 3.0, "event_time": "2024-01-20T00:00:00Z"},
]


@pytest.fixture
def server(trained):
    version = resolve(trained.stores, "late@1")
    served = Endpoint("late", (Target("late", "late", 1),))
    manager = ModelManager(lambda: [served], lambda _: open_predictor(trained.stores, version))
    take = partial(take_outcomes, trained.stores)
    made = ModelServer(manager, grpc_port=0, rest_port=0, read_features=trained.features.get, take_outcomes=take)
    made.start()
    yield made
    made.stop()


def post(server, path, data):
    request = urllib.request.Request(f"http://127.0.0.1:{server.rest_port}{path}", json.dumps(data).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def expected(trained):
    values = trained.features.get("late@1", ROWS)
    return {name: [None if value != value else value for value in column.tolist()] for name, column in values.items()}


def test_the_features_of_a_model_are_those_in_process(server, trained):
    status, found = post(server, "/v1/features:get", {"model": "late", "entities": ROWS})
    assert (status, found["model"], found["version"], found["fallbacks"]) == (200, "late", 1, {})
    assert found["features"] == expected(trained)


def test_the_document_of_a_workspace_says_how_features_are_asked_and_outcomes_told(server):
    document = json.load(urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}/openapi.json", timeout=20))
    bodies = {
        path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/v1/features:get", "/v1/models/late:outcomes")
    }
    features, outcomes = ({"model": "late", "entities": ROWS}, {"outcomes": [{"prediction_id": "a", "outcome": True}]})
    assert is_valid(bodies["/v1/features:get"], features)
    assert not is_valid(bodies["/v1/features:get"], {"entities": ROWS})
    for path, body in zip(bodies, (features, outcomes), strict=True):
        assert is_valid(bodies[path], body)
        status, found = post(server, path, body)
        assert status == 200
        schema = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert is_valid(schema, found)


def test_some_features_can_be_asked_of_columns(server, trained):
    wanted = list(expected(trained))[:2]
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    _, found = post(server, "/v1/features:get", {"model": "late", "entities": columns, "features": wanted})
    assert found["features"] == {name: expected(trained)[name] for name in wanted}


def test_features_of_no_model_are_read_by_their_references(server, trained):
    wanted = [name for name in expected(trained) if name.startswith("driver")][:1] or list(expected(trained))[:1]
    status, found = post(server, "/v1/features:get", {"features": wanted, "entities": ROWS})
    if status == 400:  # it reads no key or request field that these rows have besides
        keys = [{"driver": row["driver"], "event_time": row["event_time"]} for row in ROWS]
        status, found = post(server, "/v1/features:get", {"features": wanted, "entities": keys})
    assert (status, found["features"]) == (200, {name: expected(trained)[name] for name in wanted})


def test_what_cannot_be_read_is_a_problem_with_a_reason(server):
    for asked, status, says in (
        ({}, 400, "'entities'"),
        ({"entities": ROWS}, 400, "neither a 'model' nor 'features'"),
        ({"entities": ROWS, "model": "lat"}, 404, "Latest(lat)"),
        ({"entities": [{"driver": "d1"}], "model": "late"}, 400, "depot"),
        ({"entities": ROWS, "model": "late", "features": ["trips:nothing"]}, 404, "trips:nothing"),
        ({"entities": ROWS, "features": "one"}, 400, "'features'"),
    ):
        code, found = post(server, "/v1/features:get", asked)
        assert (code, found["status"]) == (status, status), found
        assert says in found["detail"]


def test_the_features_that_were_used_come_with_a_prediction_on_every_protocol(server, trained):
    used = expected(trained)
    body = {"instances": ROWS, "output_filter": ["probability", "features"]}
    _, rows = post(server, "/v1/models/late:predict", body)
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    inputs = [
        {"name": name, "datatype": "FP64" if name == "distance" else "BYTES", "shape": [2], "data": values}
        for name, values in columns.items()
    ]
    outputs = [{"name": "probability"}, {"name": "features"}]
    _, inferred = post(server, "/v2/models/late/infer", {"inputs": inputs, "outputs": outputs})
    by_name = {output["name"]: output["data"] for output in inferred["outputs"]}
    request = message("tensorflow.serving.PredictRequest").FromString(
        wire.encode_request(
            "late",
            {name: np.array(values, object if name != "distance" else float) for name, values in columns.items()},
        )
    )
    request.output_filter.extend(["probability", "features"])
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        _, answered = wire.decode_response(channel.unary_unary(wire.PREDICT)(request.SerializeToString(), timeout=20))
    for name, values in used.items():
        for row, value in enumerate(values):
            found = [rows["predictions"][row][name], by_name[name][row], answered[name][row]]
            assert all(one == value or (value is None and one != one) for one in found), name
    for row in range(2):
        assert rows["predictions"][row]["probability"] == pytest.approx(float(answered["probability"][row]), abs=1e-7)
