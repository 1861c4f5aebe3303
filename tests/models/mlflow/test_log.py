"""A version that is logged to a real tracking server of MLflow: its run, its registered model, its answers there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from carrara.core.errors import NotFoundError, StorageError
from carrara.features.training_set import kept_training_set
from carrara.models.mlflow.log import _name
from carrara.models.mlflow.server import TrackingServer
from carrara.models.registry import opened
from commands import carrara
from mlflow_servers import answering, asked_by, real_server

READS = Path(__file__).with_name("read_by_mlflow.py")


@pytest.mark.slow
def test_mlflow_finds_the_run_and_the_model_and_answers_as_here(trained, tmp_path):
    with real_server(tmp_path) as address:
        _logged_and_read(trained, address)


def _logged_and_read(trained, address: str) -> None:
    trained.models.describe("late@1", owner="ann", description="of the depots", tags={"market": "eu"})
    done = carrara("model", "export", "late@1", "--to-mlflow", address, "--json", "-w", trained.root)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["address"] == "models:/late/1"
    record = trained.models.record("late@1")
    _, table = kept_training_set(trained.stores, "late", record["datasets"]["training_set"])
    frame = table.select(one["name"] for one in record["features"]).drop_nulls().tail(5).collect()
    rows = frame.to_dicts()
    asked = json.dumps({"registered": told["address"], "rows": rows})
    found = json.loads(asked_by(READS, address, asked).splitlines()[-1])
    assert (found["experiment"], found["status"], found["run_name"]) == ("late", "FINISHED", "late@1")
    assert found["metrics"].items() >= {n: v["value"] for n, v in record["metrics"]["test"].items()}.items()
    assert found["params"]["trainer.trees"] == "40"
    assert found["tags"].items() >= {"owner": "ann", "market": "eu", "carrara.version": "late@1"}.items()
    assert found["description"] == "of the depots"
    assert {"dataset:trips@1", "training_set:late@1"} <= set(found["inputs"])
    assert {"model/MLmodel", "model/carrara/record.json", "report.html"} <= set(found["artifacts"])
    assert len(found["history"]) > 10
    with opened(trained.stores, trained.models.get("late@1")) as servable:
        here = servable.run(servable.signature.tensors(frame))["probability"]
    np.testing.assert_allclose(found["answers"], here, rtol=1e-5, atol=1e-6)

    again = trained.models.log_mlflow("late@1", address)
    assert again.as_dict() == told
    other = trained.models.log_mlflow("late@1", address, experiment="others", name="late_of_ann")
    assert other.address == "models:/late_of_ann/1"
    assert other.run_id != told["run_id"]
    back = trained.models.import_mlflow(address, "back", which="models:/late/1")
    assert trained.models.record(str(back))["configuration"]["label"]["kind"] == "binary"


def test_a_run_that_fails_half_way_is_told_as_failed_and_nothing_is_registered(trained):
    """The server takes no artifacts."""
    api = "/api/2.0/mlflow"
    found = {
        f"{api}/experiments/get-by-name": (200, b'{"experiment": {"experiment_id": "7"}}'),
        f"{api}/runs/create": (200, b'{"run": {"info": {"run_id": "r", "artifact_uri": "mlflow-artifacts:/7/r"}}}'),
        f"{api}/": (200, b"{}"),
        "/api/2.0/mlflow-artifacts": (503, b'{"message": "no space"}'),
    }
    with answering(found) as (place, asked), pytest.raises(StorageError, match="answered 503: no space"):
        trained.models.log_mlflow("late@1", f"http://{place}")
    paths = [path for path, _ in asked]
    assert paths[-1].endswith("runs/update")
    assert not any("model-versions/create" in path for path in paths)


def test_a_server_that_is_not_there_or_refuses_is_told_in_words(trained):
    with pytest.raises(StorageError, match="does not answer"):
        trained.models.log_mlflow("late@1", "http://127.0.0.1:9")
    with answering({"/": (403, b"no")}) as (place, _), pytest.raises(StorageError, match="does not let this user"):
        trained.models.log_mlflow("late@1", f"http://{place}")
    with pytest.raises(NotFoundError):
        trained.models.log_mlflow("late@7", "http://127.0.0.1:9")


def test_names_are_ones_that_mlflow_takes():
    assert _name("recall@0.3") == "recall_at_0.3"
    assert _name('tags["my, tag"]') == "tags__my_ tag__"
    assert TrackingServer.at("http://h:1").port == 1


def test_the_command_refuses_what_does_not_go_together(trained, tmp_path):
    for words in (
        ("--to-mlflow", "http://h", "--mlflow"),
        ("--experiment", "e"),
        ("--to-mlflow", "http://h", "-o", "x"),
    ):
        done = carrara("model", "export", "late@1", *words, "-w", trained.root, cwd=tmp_path)
        assert done.returncode == 2
    assert not list(tmp_path.iterdir()) or (tmp_path / "trained").exists()
