"""Outcomes over REST: kept like those that are handed in, and refused with a reason."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial

import pytest

from carrara.serving.manager import ModelManager
from carrara.serving.outcomes import take_outcomes
from carrara.serving.server import ModelServer


@pytest.fixture
def server(trained):
    manager = ModelManager(list, lambda _: None)
    made = ModelServer(manager, grpc_port=0, rest_port=0, take_outcomes=partial(take_outcomes, trained.stores))
    made.start()
    yield made
    made.stop()


def post(server, model, data):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/{model}:outcomes"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(data).encode()), timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_outcomes_are_kept_once_and_said_what_became_of(server, trained):
    rows = {"outcomes": [{"prediction_id": "a", "outcome": True}, {"prediction_id": "b", "outcome": False}]}
    assert post(server, "late", rows)[1]["new"] == 2
    status, found = post(server, "late", rows)
    assert (status, found["new"], found["repeated"], found["rows"]) == (200, 0, 2, 2)
    assert trained.stores.lake.scan("outcomes/late").collect().height == 2


@pytest.mark.parametrize(
    ("model", "data", "status", "says"),
    [
        ("late", {}, 400, "'outcomes' must be a list"),
        ("late", {"outcomes": [{"prediction_id": "a"}]}, 400, "outcome"),
        ("late", {"outcomes": [{"prediction_id": "a", "outcome": "perhaps"}]}, 400, "perhaps"),
        ("lat", {"outcomes": [{"prediction_id": "a", "outcome": 1}]}, 404, "late"),
    ],
)
def test_what_is_no_outcome_is_refused_with_a_reason(server, model, data, status, says):
    code, found = post(server, model, data)
    assert code == status, found
    assert says in json.dumps(found)
