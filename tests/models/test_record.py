"""The model record, complete and by itself: what one would ask of a version is in what `show --json` prints."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from typer.testing import CliRunner

from carrara.cli.main import app


@pytest.fixture(scope="module")
def record(_trained_folder):
    shown = CliRunner().invoke(app, ["model", "show", "late@1", "--json", "-w", str(_trained_folder)])
    return json.loads(shown.stdout)


FEATURES = ("depot_state:load", "depot_state:open", "driver_trips:delay_mean_6h", "trip:far", "trip:loaded_km")


def test_who_trained_it_and_from_when_to_when(record):
    assert record["trained_by"]
    begun, ended, registered = (
        datetime.fromisoformat(record[key]) for key in ("started_at", "ended_at", "registered_at")
    )
    assert begun < ended <= registered
    assert begun.tzinfo is not None
    fitted = record["summary"]["fit"]
    assert record["started_at"] <= fitted["started_at"] < fitted["ended_at"] <= record["ended_at"]


def test_the_full_configuration(record):
    configuration = record["configuration"]
    assert configuration["features"] == ["depot_state", "driver_trips", "trip"]
    assert configuration["trainer"]["name"] == "xgboost"
    assert (configuration["trainer"]["trees"], configuration["trainer"]["depth"]) == (40, 3)
    assert configuration["seed"] == 0
    assert configuration["label"]["column"] == "late"
    assert configuration["split"]
    assert configuration["gates"] == [{"gate": "at_least", "metric": "roc_auc", "value": 0.5}]


def test_the_data_by_version_and_digest(record):
    data = record["datasets"]
    assert {name: source["version"] for name, source in data["sources"].items()} == {"depots": 1, "trips": 1}
    assert all(len(source["digest"]) == 64 for source in data["sources"].values())
    assert data["training_set"]["version"] == 1
    assert len(data["training_set"]["digest"]) == 64
    assert set(data["parts"]) == {"train", "validation", "test"}
    assert sum(part["rows"] for part in data["parts"].values()) <= data["training_set"]["rows"] == 3_000
    assert data["parts"]["train"]["to"] < data["parts"]["test"]["from"]
    assert set(data["feature_tables"]) == {"depot_state", "driver_trips"}


def test_each_features_distribution_and_importance(record):
    by_name = {feature["name"]: feature for feature in record["features"]}
    assert set(FEATURES) <= set(by_name)
    assert sum(feature["importance"] for feature in by_name.values()) == pytest.approx(1)
    for feature in by_name.values():
        assert feature["statistics"]["rows"] == record["datasets"]["parts"]["train"]["rows"]
        assert feature["distribution"]


def test_metrics_overall_by_slice_and_beside_a_baseline(record):
    metrics = record["metrics"]
    for part in ("test", "validation", "baseline"):
        assert {"roc_auc", "log_loss", "brier"} <= set(metrics[part])
        value = metrics[part]["roc_auc"]
        assert value["low"] <= value["value"] <= value["high"]
    slices = {one["value"]: one for one in metrics["slices"] if one["column"] == "depot"}
    assert set(slices) == {"p0", "p1"}
    assert all("roc_auc" in one["metrics"] for one in slices.values())


def test_the_standard_charts_as_data(record):
    named = ("calibration", "confusion_matrix", "feature_importance", "learning_curve", "lift", "slice_bars")
    missing = set(named) - set(record["charts"])
    assert not missing, sorted(record["charts"])
    assert all("$schema" in chart for chart in record["charts"].values())


def test_what_it_has_learned_and_a_summary_of_it(record):
    assert record["parameters"]["format"] == "onnx"
    assert len(record["parameters"]["learned"]) == 64
    assert any(name.startswith("learned/") for name in record["files"])
    assert record["summary"]["scores"]
    assert record["summary"]["curve"]


def test_how_it_is_asked(record):
    own, entities = record["signature"]["serving_default"], record["signature"]["entities"]
    assert {tensor["name"] for tensor in own["inputs"]} >= set(FEATURES)
    assert {"driver", "depot", "city", "distance"} <= {tensor["name"] for tensor in entities["inputs"]}
    assert own["outputs"] == entities["outputs"]


def test_gates_and_decisions_deployments_and_aliases(record):
    assert record["gates"]["passed"] is True
    assert [result["gate"] for result in record["gates"]["results"]] == ["roc_auc at least 0.5"]
    assert record["approvals"] == []
    (served,) = record["deployments"]
    assert (served["endpoint"], served["to"]) == ("late", None)
    assert served["from"] > record["registered_at"]
    assert served["by"]
    assert record["aliases"] == ["champion"]
    assert record["alias_history"][0]["alias"] == "champion"


def test_the_code_the_environment_and_what_it_was_made_from(record):
    assert "definitions.py" in record["code"]["definitions"]
    environment = record["environment"]
    assert environment["python"]
    assert environment["platform"]
    assert environment["processors"] >= 1
    assert "xgboost-cpu" in environment["distributions"] or "xgboost" in environment["distributions"]
    assert "training_set:late@1" in {edge["source"] for edge in record["lineage"]}
    assert all(len(entry["sha256"]) == 64 for entry in record["files"].values())
    assert record["record_format"] == 1
    assert (record["owner"], record["description"], record["tags"]) == ("", "", {})
