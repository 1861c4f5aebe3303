"""Models of a tracking server: a real one, and one that an enemy has made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from carrara.core.errors import CarraraError, DataError, NotFoundError, StorageError
from carrara.demo.template import write_template
from carrara.models.mlflow.served import found_model
from carrara.workspace.workspace import Workspace
from commands import carrara
from mlflow_servers import answering, asked_by, real_server

LOGS = Path(__file__).with_name("logged_by_mlflow.py")


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A real server with a model that MLflow has logged there: the address, and what it is."""
    with real_server(tmp_path_factory.mktemp("server")) as address:
        yield address, json.loads(asked_by(LOGS, address).splitlines()[-1])


@pytest.mark.slow
def test_every_address_of_a_tracking_server_leads_to_its_model_and_its_run(logged):
    address, told = logged
    names = ("models:/churn/1", "models:/churn@champion", "models:/churn", told["model"], f"runs:/{told['run']}/model")
    for which in (None, *names):
        with found_model(address, which) as found:
            assert (found.run.user, found.run.experiment, found.run.status) == ("ann", "churn", "finished")
            assert (found.run.params, found.run.metrics) == ({"max_depth": "2"}, {"accuracy": 0.9})
            assert found.run.started_at < found.run.ended_at
            assert "xgboost" in found.read().flavors
            assert told["model"] in found.addresses
        assert not found.folder.exists()
    with pytest.raises(NotFoundError, match="models:/churn@champion"), found_model(address, "models:/churn@champ"):
        pass
    with pytest.raises(NotFoundError, match="models:/churn/1"), found_model(address, "models:/churn/7"):
        pass


@pytest.mark.slow
def test_a_model_of_a_tracking_server_is_a_version_that_answers_as_mlflow_does(logged, tmp_path, monkeypatch):
    address, told = logged
    write_template(tmp_path / "ws", "empty")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    done = carrara("model", "import", "--mlflow", "models:/churn@champion", "-w", tmp_path / "ws", "--json")
    assert done.returncode == 0, done.stderr
    with Workspace(tmp_path / "ws") as workspace:
        found = workspace.predict("churn@1", told["rows"]).rows["probability"]
        np.testing.assert_allclose(found, told["answers"], atol=1e-6)
        record = workspace.models.record("churn@1")
        assert (record["trained_by"], record["tags"]) == ("ann", {"market": "eu"})
        assert record["summary"]["imported"]["run_name"] == "by the server"
        assert str(workspace.models.import_mlflow(address, which="models:/churn/1")) == "churn@1"


API = "/api/2.0/mlflow"
VERSION = json.dumps({"model_version": {"version": "1", "source": "mlflow-artifacts:/1/model"}}).encode()


def listing(*paths: str) -> tuple[int, bytes]:
    return 200, json.dumps({"files": [{"path": path, "is_dir": False, "file_size": 3} for path in paths]}).encode()


@pytest.mark.parametrize("path", ["../up", "/etc/cron.d/x", "a/../../up", "a\\..\\up", ""])
def test_a_server_that_names_a_file_elsewhere_is_refused_and_nothing_is_written(path, tmp_path):
    """F11."""
    answers = {f"{API}/model-versions/get": (200, VERSION), "/api/2.0/mlflow-artifacts/artifacts?": listing(path)}
    with (
        answering(answers) as (place, asked),
        pytest.raises(DataError, match="not below its model"),
        found_model(f"http://{place}", "models:/churn/1"),
    ):
        pass
    assert len(asked) == 2


def test_a_server_that_lists_without_end_is_left(tmp_path):
    """Each folder holds a folder."""
    deeper = json.dumps({"files": [{"path": "a", "is_dir": True}] * 200}).encode()
    answers = {f"{API}/model-versions/get": (200, VERSION), "/api/2.0/mlflow-artifacts/artifacts?": (200, deeper)}
    with (
        answering(answers) as (place, _),
        pytest.raises(DataError, match="more than 10,000 files"),
        found_model(f"http://{place}", "models:/churn/1"),
    ):
        pass


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((401, b"who are you?"), StorageError, "does not let this user do that"),
        ((200, b"<html>"), DataError, "no tracking server of MLflow"),
        ((200, b"[]"), DataError, "no tracking server of MLflow"),
        ((302, b"http://127.0.0.1:9/elsewhere"), StorageError, "answered 302"),
        ((500, b"oh"), StorageError, "answered 500"),
    ],
)
def test_what_a_server_answers_instead_is_told(answer, error, said):
    with (
        answering({API: answer}) as (place, asked),
        pytest.raises(error, match=said),
        found_model(f"http://{place}", "models:/churn/1"),
    ):
        pass
    assert len(asked) == 1


def test_who_asks_is_told_as_mlflow_tells_it_and_no_message_repeats_it(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret")
    with answering({API: (500, b"{}")}) as (place, asked):
        for address in (f"http://{place}", f"http://ann:p%40ss@{place}"):
            with pytest.raises(CarraraError) as told, found_model(address, "models:/churn/1"):
                pass
            assert not any(secret in str(told.value) for secret in ("s3cret", "ann", "p%40ss"))
    assert [who for _, who in asked] == ["Bearer s3cret", "Basic YW5uOnBAc3M="]


def test_a_store_that_is_not_named_is_asked_for(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(NotFoundError, match="set MLFLOW_TRACKING_URI"), found_model("models:/churn@champion"):
        pass
    with pytest.raises(StorageError, match="does not answer"), found_model("http://127.0.0.1:9", "models:/churn/1"):
        pass
