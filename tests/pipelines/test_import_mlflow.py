"""A model of MLflow lives here as one that was trained here: shown, judged, deployed, asked, and watched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import CarraraError
from carrara.demo.template import write_template
from carrara.workspace.workspace import Workspace
from mlflow_models import FOLDERS, database, expected

DEFINITIONS = """
import carrara

people = carrara.Dataset("people", source="people.parquet", types={"at": "datetime"})
"""


def _people(rows: int = 600) -> pl.DataFrame:
    random = np.random.default_rng(1)
    income = random.normal(50, 15, rows).round(2)
    return pl.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "income": income,
            "churned": random.random(rows) < 1 / (1 + np.exp((income - 45) / 6)),
            "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(rows)],
            "city": random.choice(["Rome", "Oslo"], rows),
        }
    )


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Iterator[Workspace]:
    """A workspace with churn@1, which nobody measured here, and churn@2, the same, measured on a dataset."""
    folder = tmp_path_factory.mktemp("imported") / "ws"
    write_template(folder, "empty")
    (folder / "definitions.py").write_text(DEFINITIONS)
    _people().write_parquet(folder / "people.parquet")
    with Workspace(folder) as workspace:
        workspace.models.import_mlflow(FOLDERS / "mlruns", "churn")
        on_people = {"dataset": "people", "label": "churned", "time": "at", "slices": ("city",)}
        workspace.models.import_mlflow(FOLDERS / "mlruns", "churn", **on_people)
        yield workspace


def test_the_record_says_who_trained_it_when_with_what_and_how_good_it_was_there(imported):
    record = imported.models.record("churn@1")
    assert (record["trained_by"], record["started_at"] < record["ended_at"]) == ("ann", True)
    assert record["configuration"]["trainer"]["max_depth"] == 2
    assert record["metrics"]["imported"]["accuracy"] == 0.82
    assert record["tags"] == {"market": "eu", "team": "retention"}
    told = record["summary"]["imported"]
    assert told["input_example"]["columns"] == ["age", "income"]
    assert told["signature"]["inputs"][0] == {"type": "long", "name": "age", "required": True}
    assert told["flavors"]["xgboost"]["model_class"] == "xgboost.sklearn.XGBClassifier"
    assert record["environment"]["distributions"]["xgboost"] == told["flavors"]["xgboost"]["xgb_version"]
    assert record["parameters"]["trees"] == len(imported.models.trees("churn@1").table())
    found = imported.models.versions(where='parameters.max_depth = 2 and metrics.accuracy > 0.8 and tags.market = "eu"')
    assert len(found) == 2


def test_the_same_import_again_is_the_same_version(imported):
    assert str(imported.models.import_mlflow(FOLDERS / "mlruns", "churn")) == "churn@1"
    assert str(imported.models.import_mlflow(FOLDERS / "mlruns", which="models:/churn@champion")) == "churn@1"


def test_an_unmeasured_version_is_tried_on_its_example_before_it_may_live(imported):
    record = imported.models.record("churn@1")
    assert (record["gates"]["passed"], record["gates"]["trial"]["rows"]) == (True, 2)
    assert record["metrics"]["test"] == {}
    assert {one["statistics"]["rows"] for one in record["features"]} == {0}


def test_a_measured_version_has_metrics_slices_charts_and_explanations_of_its_own(imported):
    record = imported.models.record("churn@2")
    test = record["metrics"]["test"]
    assert 0.8 < test["roc_auc"]["low"] < test["roc_auc"]["high"] < 0.97
    assert {one["value"] for one in record["metrics"]["slices"]} == {"Rome", "Oslo"}
    assert {"roc_curve", "calibration", "confusion_matrix"} <= set(record["charts"])
    assert record["features"][1]["shap"]
    assert record["datasets"]["sources"]["people"]["rows"] == 600
    assert record["datasets"]["parts"]["test"]["rows"] == 600
    assert record["summary"]["warnings"] == []
    assert any(edge["source"].startswith("mlflow:models:/churn/1") for edge in record["lineage"])


@pytest.mark.parametrize("version", ["churn@1", "churn@2"])
def test_every_view_of_a_version_is_there(imported, version, tmp_path):
    assert "churn" in imported.models.report(version, tmp_path / "report.html").read_text()
    assert "trained by" in imported.models.card(version).lower()
    assert imported.models.parameters(version)["kind"] == "trees"
    assert len(imported.models.trees(version).view(0).nodes) > 1
    assert imported.models.export(version, tmp_path / "churn.carrara").exists()


def test_it_answers_by_the_names_of_its_columns_what_mlflow_answers(imported):
    rows, answers = expected("churn")
    for version in ("churn@1", "churn@2"):
        assert np.allclose(imported.predict(version, rows).rows["probability"], answers, atol=1e-7)


def test_it_predicts_a_file_and_is_compared_on_the_rows_of_the_one_that_was_measured(imported, tmp_path):
    _people(50).write_csv(tmp_path / "people.csv")
    assert imported.predict_batch("churn@1", tmp_path / "people.csv", tmp_path / "out.csv") == 50
    compared = imported.models.compare("churn@2", "churn@1")
    assert compared.others[0].metrics["roc_auc"].difference == 0
    assert "trained elsewhere" in compared.others[0].warnings[0]
    with pytest.raises(CarraraError, match="no test rows of it are known"):
        imported.models.compare("churn@1", "churn@2")
    with pytest.raises(CarraraError, match="cannot be built again"):
        imported.models.reproduce("churn@2")


def test_it_is_deployed_and_watched_as_outcomes_come(imported):
    imported.deploy("churn@1")
    people = _people(200)
    asked = people.select("age", "income", prediction_id=pl.format("p{}", pl.int_range(200))).to_dicts()
    imported.predict("churn@1", asked, log=True)
    outcomes = pl.DataFrame({"prediction_id": [one["prediction_id"] for one in asked], "outcome": people["churned"]})
    assert imported.monitoring.outcomes("churn@1", outcomes).new == 200
    report = imported.monitoring.measure("churn@1")
    assert report.outcomes == 200
    assert report.metrics["roc_auc"]["value"] > 0.8
    assert report.evaluation["roc_auc"]["value"] is None
    assert report.windows[0].score_drift["psi"] is None


def test_what_was_imported_can_be_carried_on_and_lives_under_another_name(imported, tmp_path):
    bundle = imported.models.export("churn@2", tmp_path / "churn.carrara")
    assert str(imported.models.import_bundle(bundle, "renamed")) == "renamed@1"
    rows, answers = expected("churn")
    assert np.allclose(imported.predict("renamed@1", rows).rows["probability"], answers, atol=1e-7)


@pytest.mark.slow
def test_the_command_imports_from_a_database_and_refuses_what_it_cannot_measure(imported, tmp_path):
    asked = ["model", "import", "--mlflow", f"sqlite:///{database(tmp_path)}", "-w", str(imported.root), "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["model"] == "fares"
    rows, answers = expected("fares")
    assert np.allclose(imported.predict("fares@1", rows).rows["prediction"], answers, atol=1e-5)
    assert CliRunner().invoke(app, [*asked, "--dataset", "people"]).exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iris", "cities"])
def test_graphs_live_as_boosters_do(imported, name, tmp_path):
    version = str(imported.models.import_mlflow(FOLDERS / name))
    rows, answers = expected(name)
    output = "probabilities" if name == "iris" else "probability"
    found = imported.predict(version, rows).rows[output].to_list()
    assert np.allclose(np.array(found), answers, atol=2e-6)
    again = imported.models.export_mlflow(version, Path(tmp_path) / "again")
    assert (again / "MLmodel").exists()
