"""A warm start: fewer rounds to the same loss, an edge in the lineage, a reproduction that begins where it began."""

from __future__ import annotations

import pytest

from carrara.core.errors import TrainingError
from carrara.workspace.workspace import Workspace

LONG = {
    "torch": "carrara.Torch(epochs=15, early_stopping=15, batch_rows=64)",
    "keras": "carrara.Keras(epochs=15, early_stopping=15, batch_rows=64)",
    "xgboost": "carrara.XGBoost(trees=60, depth=3, early_stopping=60)",
    "lightgbm": "carrara.LightGBM(trees=60, leaves=7, early_stopping=60)",
}
SHORT = {"torch": ("epochs=15", "epochs=1"), "keras": ("epochs=15", "epochs=1")}


def declared(fresh, trainer: str) -> None:
    path = fresh.root / "definitions.py"
    lines = path.read_text().splitlines(keepends=True)
    transforms = "    transforms=(carrara.Impute(), carrara.Standardise()),\n"
    made = [f"    trainer={trainer},\n{transforms}" if "trainer=" in line else line for line in lines]
    path.write_text("".join(line for line in made if line.strip() != transforms.strip()))
    fresh.close()


@pytest.mark.parametrize(
    "name", ["torch", "xgboost", *(pytest.param(n, marks=pytest.mark.slow) for n in ("keras", "lightgbm"))]
)
def test_a_warm_start_goes_on_where_the_version_ended(fresh, name):
    declared(fresh, LONG[name])
    with Workspace(fresh.root) as workspace:
        workspace.train("late")
    declared(fresh, LONG[name].replace(*SHORT.get(name, ("trees=60", "trees=1"))))
    with Workspace(fresh.root) as workspace:
        cold = workspace.train("late")
        warm = workspace.train("late", start="late@1")
        assert warm.version.version == 3
        first, second, third = (workspace.models.record(f"late@{n}")["summary"]["curve"] for n in (1, 2, 3))
        kept = first["validation"].index(min(first["validation"]))
        assert third["train"][0] < second["train"][0]
        assert third["train"][0] == pytest.approx(first["train"][kept], abs=0.03)
        record = workspace.models.record("late@3")
        assert record["summary"]["start"] == "late@1"
        assert "model:late@1" in {edge["source"] for edge in record["lineage"]}
        assert warm.evaluation.metrics["log_loss"].value < cold.evaluation.metrics["log_loss"].value
        assert workspace.models.reproduce("late@3").equal


def test_what_cannot_be_gone_on_from_is_said(fresh):
    fresh.train("late")
    declared(fresh, "carrara.Torch(epochs=1)")
    with Workspace(fresh.root) as workspace:
        with pytest.raises(TrainingError, match=r"(?s)has no learned.npz, but .*learned.json.*of its own"):
            workspace.train("late", start="late@1")
        workspace.train("late")
    declared(fresh, "carrara.Torch(epochs=1, layers=(8,))")
    with Workspace(fresh.root) as workspace, pytest.raises(TrainingError, match="of another shape"):
        workspace.train("late", start="late@2")
    declared(fresh, "carrara.Linear()")
    with Workspace(fresh.root) as workspace, pytest.raises(TrainingError, match="'linear' cannot go on"):
        workspace.train("late", start="late@2")
