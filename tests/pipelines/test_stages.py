"""Two stages: a model reads the score of another one, which has not seen its rows, and is served as one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from carrara.core.clock import parse_time
from carrara.core.errors import DefinitionError, TrainingError
from carrara.features.training_set import read_training_set
from carrara.models.registry import learned_files, opened
from carrara.training.inputs import Inputs
from carrara.training.model import Label, Model
from carrara.training.trainers.lightgbm import LightGBM
from carrara.workspace.workspace import Workspace
from trips import write_workspace

FIRST = """
risk = carrara.Model(
    "risk",
    features=("driver_trips", "trip:far"),
    label=carrara.Label(dataset="trips", column="late", time="at", known_at="ended_at"),
    split=carrara.TimeSplit(validation_from="2024-01-08", test_from="2024-01-10"),
    trainer=carrara.{trainer},
)
"""
READS = '    "late",\n    scores=("{address}",),\n'


def edited(folder: Path, address: str, trainer: str = "XGBoost(trees=20, depth=3)", **changes: str) -> Workspace:
    path = folder / "definitions.py"
    text = path.read_text().replace('    "late",\n', READS.format(address=address), 1) + FIRST.format(trainer=trainer)
    for before, after in changes.items():
        text = text.replace(before, after)
    path.write_text(text)
    return Workspace(folder)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = write_workspace(tmp_path_factory.mktemp("stages") / "ws", trips=1_200)
    with edited(folder, "risk@1") as workspace:
        workspace.apply()
        workspace.train("risk")
        workspace.train("late")
        yield workspace


def test_a_model_reads_a_score_that_is_no_hindsight(workspace):
    record, first = (workspace.models.record(f"{name}@1") for name in ("late", "risk"))
    until = parse_time(max(first["datasets"]["parts"][part]["known"] for part in ("train", "validation")))
    assert parse_time(record["datasets"]["parts"]["train"]["from"]) > until
    assert record["summary"]["stages"] == ["risk@1"]
    assert "model:risk@1" in {edge["source"] for edge in record["lineage"]}
    assert workspace.models.reproduce("late@1").equal


def test_the_score_in_its_matrix_is_what_the_other_version_says(workspace):
    stores = workspace.stores
    one, other = (workspace.models.get(f"{name}@1") for name in ("late", "risk"))
    number = workspace.models.record("late@1")["datasets"]["training_set"]["version"]
    rows = read_training_set(stores, "late", number)[1].collect()
    with opened(stores, one) as servable:
        inputs = Inputs.of_files(servable.signature.inputs, learned_files(stores, one))
    with opened(stores, other) as servable:
        scores = servable.run(servable.signature.tensors(rows))["probability"]
    place = inputs.names.index("risk@1:probability")
    np.testing.assert_allclose(inputs.matrix(rows)[:, place], scores, atol=1e-6)
    assert "risk@1:probability" not in {spec.name for spec in inputs.features}


def test_it_is_served_as_one(workspace):
    workspace.features.materialise(until=datetime(2024, 1, 20, tzinfo=UTC))
    entity = {"depot": "p1", "city": "c1", "driver": "d1", "distance": 80.0, "event_time": "2024-01-20T00:00:00Z"}
    (found,) = workspace.predict("late@1", [entity]).rows["probability"]
    assert 0 < found < 1


def test_what_is_read_is_pinned_and_an_alias_is_the_version_of_its_day(fresh):
    with edited(fresh.root, "risk@champion", "LightGBM(trees=20, leaves=7)") as workspace:
        workspace.train("risk")
        workspace.models.move_alias("risk@1", "champion")
        workspace.train("late")
        assert workspace.models.record("late@1")["summary"]["stages"] == ["risk@1"]
        assert workspace.train("late").reused
    path = fresh.root / "definitions.py"
    path.write_text(path.read_text().replace("LightGBM(trees=20", "LightGBM(trees=21"))
    with Workspace(fresh.root) as workspace:
        workspace.train("risk")
        assert workspace.train("late").reused
        workspace.models.move_alias("risk@2", "champion")
        assert str(workspace.train("late").version) == "late@2"
        assert workspace.models.record("late@2")["summary"]["stages"] == ["risk@2"]


def test_what_cannot_be_read_is_said(fresh):
    with edited(fresh.root, "risk@1") as workspace:
        workspace.train("risk")
    path = fresh.root / "definitions.py"
    text = path.read_text()
    path.write_text(
        text.replace('features=("depot_state", "driver_trips", "trip")', 'features=("depot_state", "trip")')
    )
    with (
        Workspace(fresh.root) as workspace,
        pytest.raises(TrainingError, match=r"(?s)not its feature 'driver_trips:.*Add to"),
    ):
        workspace.train("late")
    path.write_text(text.replace('windows=("6h", "2d")', 'windows=("6h", "2d", "3d")'))
    with (
        Workspace(fresh.root) as workspace,
        pytest.raises(TrainingError, match=r"(?s)'driver_trips' is not what risk@1.*again"),
    ):
        workspace.train("late")
    path.write_text(
        text.replace(
            'TimeSplit(validation_from="2024-01-15", test_from="2024-01-20")',
            'TimeSplit(validation_from="2024-01-05", test_from="2024-01-12")',
        )
    )
    with (
        Workspace(fresh.root) as workspace,
        pytest.raises(TrainingError, match=r"(?s)train part of 'late' is older.*times back"),
    ):
        workspace.train("late")
    label = Label("trips", "late", "at")
    with pytest.raises(DefinitionError, match="partitioned, and reads scores"):
        Model("m", ("v:a",), label, None, LightGBM(), partition_by=("v:a",), scores=("risk@1",))
