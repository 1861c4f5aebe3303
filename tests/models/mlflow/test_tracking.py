"""What MLflow has stored, found by its own addresses, in a folder of files and in SQLite."""

from __future__ import annotations

import shutil

import pytest

from carrara.core.errors import DataError, NotFoundError
from carrara.models.mlflow.folder import read_folder
from carrara.models.mlflow.tracking import find_model
from mlflow_models import FOLDERS, database


def test_a_folder_of_runs_tells_who_trained_a_model_when_and_how():
    found = find_model(str(FOLDERS / "mlruns"))
    assert (found.run.user, found.run.experiment, found.run.name) == ("ann", "churn", "early stopped")
    assert found.run.params == {"max_depth": "2", "learning_rate": "0.5", "note": "from a notebook"}
    assert found.run.metrics["accuracy"] == 0.82
    assert found.run.tags["market"] == "eu"
    assert found.run.started_at < found.run.ended_at
    assert found.addresses[:2] == ("models:/churn/1", "models:/churn@champion")
    assert found.read().example == {"columns": ["age", "income"], "data": [[70, 41.22], [57, 42.91]]}


def test_every_address_of_mlflow_leads_to_the_model_in_a_folder_and_in_a_database(tmp_path):
    for store in (str(FOLDERS / "mlruns"), f"sqlite:///{database(tmp_path)}"):
        found = find_model(store)
        assert len(found.addresses) == 4
        assert [find_model(store, address).folder for address in found.addresses] == [found.folder] * 4


def test_a_database_tells_the_same_of_a_run_and_finds_artifacts_that_were_moved_with_it(tmp_path):
    found = find_model(str(database(tmp_path)), "models:/fares@champion")
    assert (found.run.user, found.run.experiment, found.run.status) == ("ann", "fares", "finished")
    assert (found.run.params, found.run.metrics) == ({"num_leaves": "4"}, {"rmse": 1.25})
    assert found.folder.is_relative_to(tmp_path)


def test_a_folder_of_a_model_inside_of_a_store_is_known_with_its_run():
    folder = find_model(str(FOLDERS / "mlruns")).folder
    assert find_model(str(folder)).run.user == "ann"
    assert find_model(str(FOLDERS / "iris")).run is None


def test_models_of_releases_before_3_lie_among_the_artifacts_of_their_run(tmp_path):
    shutil.copytree(FOLDERS / "mlruns", tmp_path / "mlruns")
    (home,) = (tmp_path / "mlruns").glob("*/models/m-*")
    run = find_model(str(tmp_path / "mlruns")).run.id
    shutil.copytree(home / "artifacts", home.parent.parent / run / "artifacts" / "model")
    shutil.rmtree(home)
    found = find_model(str(tmp_path / "mlruns"), f"runs:/{run}/model")
    assert (found.run.id, found.addresses) == (run, (f"runs:/{run}/model",))


def test_an_address_that_is_not_there_gets_the_nearest_one():
    with pytest.raises(NotFoundError, match="models:/churn@champion"):
        find_model(str(FOLDERS / "mlruns"), "models:/churn@champ")


def test_what_is_no_store_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no SQLite"):
        find_model(str(tmp_path / "mlflow.db"))
    with pytest.raises(NotFoundError):
        find_model("http://127.0.0.1:5000")
    with pytest.raises(DataError, match="--which"):
        find_model(str(FOLDERS / "iris"), "models:/iris/1")


def test_a_file_outside_of_the_folder_is_not_read(tmp_path):
    (tmp_path / "MLmodel").write_text('{"flavors": {"onnx": {"data": "../../etc/passwd"}}}')
    with pytest.raises(DataError, match="not in its folder"):
        read_folder(tmp_path).file("../../etc/passwd")
    (tmp_path / "MLmodel").write_text("flavors: !!python/object/apply:os.system ['false']")
    with pytest.raises(DataError, match="not what MLflow writes"):
        read_folder(tmp_path)
