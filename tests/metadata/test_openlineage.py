"""OpenLineage events of runs: to a file and to a server; with what was read and made; never in the way."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from carrara.metadata.openlineage import OpenLineage
from carrara.workspace.workspace import Workspace


def opened_with(workspace: Workspace, target: str) -> Workspace:
    (workspace.root / "carrara.toml").write_text(f'[lineage]\nopenlineage = "{target}"\nnamespace = "depots"\n')
    workspace.close()
    return Workspace(workspace.root)


def test_a_training_says_what_it_has_read_and_made(fresh):
    workspace = opened_with(fresh, "file:lineage/events.jsonl")
    workspace.train("late")
    events = [json.loads(line) for line in (workspace.root / "lineage/events.jsonl").read_text().splitlines()]
    train = [event for event in events if event["job"]["name"] == "train.late"]
    assert [event["eventType"] for event in train] == ["START", "COMPLETE"]
    started, ended = train
    assert started["run"]["runId"] == ended["run"]["runId"]
    assert {event["job"]["namespace"] for event in events} == {"depots"}
    outputs = {one["name"]: one for one in ended["outputs"]}
    assert {"training_set:late", "model:late"} == set(outputs)
    inputs = {one["name"]: one for one in ended["inputs"]}
    assert {"dataset:trips", "feature_table:depot_state", "feature_table:driver_trips"} == set(inputs)
    quality = inputs["dataset:trips"]["inputFacets"]["dataQualityMetrics"]
    assert quality["rowCount"] == 600
    assert quality["columnMetrics"]["distance"]["nullCount"] == 0
    assert {"name": "distance", "type": "float64"} in inputs["dataset:trips"]["facets"]["schema"]["fields"]
    lineage = outputs["training_set:late"]["facets"]["columnLineage"]["fields"]
    source = {"namespace": "depots", "name": "feature_table:depot_state", "field": "load"}
    assert lineage["depot_state:load"]["inputFields"] == [source]
    assert lineage["late"]["inputFields"] == [{"namespace": "depots", "name": "dataset:trips", "field": "late"}]
    assert outputs["training_set:late"]["outputFacets"]["outputStatistics"]["rowCount"] == 600
    (ingest,) = [e for e in events if e["job"]["name"] == "ingest.trips" and e["eventType"] == "COMPLETE"]
    parent = ingest["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == started["run"]["runId"]
    assert parent["job"]["name"] == "train.late"


def test_a_run_that_fails_says_so(fresh):
    workspace = opened_with(fresh, "events.jsonl")
    (workspace.root / "trips.csv").write_text("driver\nx\n")
    with pytest.raises(Exception, match="at"):
        workspace.train("late")
    events = [json.loads(line) for line in (workspace.root / "events.jsonl").read_text().splitlines()]
    failed = [event for event in events if event["eventType"] == "FAIL"]
    assert {event["job"]["name"] for event in failed} >= {"train.late"}
    assert failed[-1]["run"]["facets"]["errorMessage"]["programmingLanguage"] == "PYTHON"


def test_a_server_takes_them_where_the_environment_says(fresh, monkeypatch):
    taken = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "shop")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "k")
    fresh.datasets.ingest("depots")
    server.shutdown()
    server.server_close()
    assert [(path, key, event["eventType"]) for path, key, event in taken] == [
        ("/api/v1/lineage", "Bearer k", "START"),
        ("/api/v1/lineage", "Bearer k", "COMPLETE"),
    ]
    assert taken[1][2]["job"] == {**taken[1][2]["job"], "namespace": "shop", "name": "ingest.depots"}


def test_a_server_that_is_away_holds_nothing_up(fresh, monkeypatch, caplog):
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    fresh.datasets.ingest("depots")
    assert "was not delivered" in caplog.text
    assert [run.state for run in fresh.runs()] == ["complete"]


def test_nothing_is_told_where_nobody_asked(tmp_path, monkeypatch):
    assert OpenLineage.configured("", "n", tmp_path) is None
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    assert OpenLineage.configured("file:x", "n", tmp_path) is None
