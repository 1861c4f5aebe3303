"""A version is built again from its record, whatever the files say today; what differs is named."""

from __future__ import annotations

import json

import polars as pl
import pytest

from carrara.pipelines import reproduce as reproducing
from carrara.workspace.workspace import Workspace
from commands import carrara

TRAINERS = {
    "xgboost": "carrara.XGBoost(trees=20, depth=3, row_share=0.7)",
    "lightgbm": "carrara.LightGBM(trees=20, leaves=7, row_share=0.7, column_share=0.8)",
    "linear": "carrara.Linear()",
    "torch": "carrara.Torch(epochs=2, batch_rows=64)",
    "keras": "carrara.Keras(epochs=2, batch_rows=64)",
    "sklearn": "carrara.Sklearn(RandomForestClassifier(10))",
}


@pytest.mark.parametrize(
    "name", [n if n in ("xgboost", "torch") else pytest.param(n, marks=pytest.mark.slow) for n in TRAINERS]
)
def test_every_trainer_gives_the_same_bytes_again_in_another_process(fresh, name):
    text = (fresh.root / "definitions.py").read_text()
    declared = f"trainer={TRAINERS[name]},\n    transforms=(carrara.Impute(), carrara.Standardise()),"
    text = text.replace("trainer=carrara.XGBoost(trees=40, depth=3),", declared)
    (fresh.root / "definitions.py").write_text("from sklearn.ensemble import RandomForestClassifier\n" + text)
    with Workspace(fresh.root) as workspace:
        workspace.train("late")
    done = carrara("model", "reproduce", "late@1", "--json", "-w", fresh.root)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["equal"], found["first_difference"], found["environment"]) == (True, None, {})
    assert {"training set", "servable/model.onnx"} < {one["what"] for one in found["compared"]}


def test_a_tuned_model_is_built_again_with_what_was_found_after_definitions_and_data_have_changed(fresh):
    fresh.train("late", trials=3)
    (fresh.root / "definitions.py").write_text((fresh.root / "definitions.py").read_text().replace("delay", "retard"))
    pl.read_csv(fresh.root / "trips.csv").head(10).write_csv(fresh.root / "trips.csv")
    fresh.close()
    with Workspace(fresh.root) as workspace:
        assert workspace.models.reproduce("late@1").equal


def test_the_first_difference_is_named(trained, monkeypatch):
    monkeypatch.setattr(reproducing, "with_trainer", lambda model, parameters: model)
    real = reproducing.prepare

    def of_fewer(model, features, parts, **options):
        return real(model, features, {**parts, "train": parts["train"][:-1]}, **options)

    monkeypatch.setattr(reproducing, "prepare", of_fewer)
    found = trained.models.reproduce("late@1")
    assert not found.equal
    assert found.first_difference == "learned/learned.json"
    monkeypatch.setattr(reproducing, "environment", lambda: {"distributions": {"xgboost-cpu": "0.1"}})
    recorded = {"distributions": {}, "device": {"device": "cuda:0", "name": "NVIDIA H200"}}
    here = reproducing.differing_environment(recorded, {"device": "cpu"})
    assert here["device"] == ("cuda:0, NVIDIA H200", "cpu")
    assert "device" not in reproducing.differing_environment(
        {**recorded, "device": {"device": "cpu"}}, {"device": "cpu"}
    )
    assert trained.models.reproduce("late@1").environment["xgboost-cpu"][1] == "0.1"


def test_what_differs_between_two_versions_is_told_field_by_field(fresh):
    fresh.train("late")
    text = (fresh.root / "definitions.py").read_text()
    (fresh.root / "definitions.py").write_text(text.replace("depth=3", "depth=4"))
    fresh.close()
    with Workspace(fresh.root) as workspace:
        workspace.train("late")
        found = {field: (one, other) for field, one, other in workspace.models.diff("late@1", "late@2")}
    assert found["configuration.trainer.depth"] == (3, 4)
    assert "code.definitions.definitions.py" in found
    assert not any(field.startswith(("datasets", "environment")) for field in found)
    assert any(field.startswith("metrics.") for field in found)
