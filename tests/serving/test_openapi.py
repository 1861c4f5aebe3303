"""The OpenAPI document, tried by Schemathesis: whatever it says can be sent is answered as it says."""

from __future__ import annotations

import pytest
import schemathesis
from doubling import Doubling, endpoint
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def document():
    predictor = Doubling()
    server = ModelServer(ModelManager(lambda: [endpoint(1)], lambda _: predictor), grpc_port=0, rest_port=0)
    server.start()
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{server.rest_port}/openapi.json")
    server.stop()


def test_what_the_document_says_can_be_sent_is_answered_as_it_says(document):
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy())
        def tried(case):
            case.call_and_validate(checks=CHECKS)

        tried()


def test_the_document_lists_every_model_with_its_types(document):
    paths = document.raw_schema["paths"]
    (body,) = paths["/v1/models/doubling:predict"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "anyOf"
    ]
    assert body["properties"]["instances"]["items"]["properties"] == {
        "x": {"type": "number"},
        "name": {"type": "string"},
    }
    assert "/v2/models/doubling/infer" in paths
