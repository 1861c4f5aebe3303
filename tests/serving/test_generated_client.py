"""A client that a generator made of the OpenAPI document asks a running server (N11)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request

import pytest
from doubling import Doubling, endpoint

from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer

ASK = """
import sys
from generated import ApiClient, Configuration, DefaultApi, Error, ApiException
from generated.models.rows_doubling_serving_default import RowsDoublingServingDefault

with ApiClient(Configuration(host=sys.argv[1])) as client:
    api = DefaultApi(client)
    assert api.server_metadata()["name"] == "carrara"
    api.ready_doubling()
    body = {"signature_name": "serving_default", "instances": [{"x": 1.5, "name": "a"}, {"x": 2.0, "name": "b"}]}
    found = api.predict_doubling(RowsDoublingServingDefault.from_dict(body))
    print([one["doubled"] for one in found.predictions])
    try:
        api.predict_doubling(RowsDoublingServingDefault.from_dict({**body, "instances": [{"x": -1, "name": "a"}]}))
    except ApiException as error:
        print(error.status, Error.from_json(error.body).error)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="the generator is written in Java")
def test_a_generated_client_predicts_and_reads_errors_by_their_types(tmp_path):
    predictor = Doubling()
    server = ModelServer(ModelManager(lambda: [endpoint(1)], lambda _: predictor), grpc_port=0, rest_port=0)
    server.start()
    try:
        address = f"http://127.0.0.1:{server.rest_port}"
        with urllib.request.urlopen(f"{address}/openapi.json") as reply:
            (tmp_path / "openapi.json").write_text(json.dumps(json.load(reply)))
        generate = "from openapi_generator_cli import run; import sys; sys.exit(run(sys.argv[1:]).returncode)"
        options = ["generate", "-g", "python", "-i", "openapi.json", "-o", "client", "--package-name", "generated"]
        made = subprocess.run([sys.executable, "-c", generate, *options], cwd=tmp_path, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        assert "[error]" not in made.stdout.lower(), made.stdout
        done = subprocess.run(
            [sys.executable, "-c", ASK, address], cwd=tmp_path / "client", capture_output=True, text=True
        )
        assert done.stdout.splitlines() == ["[3.0, 4.0]", "400 x is negative"], done.stderr
    finally:
        server.stop()
