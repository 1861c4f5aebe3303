"""Two stages: a model reads the score of another one, which has not seen its rows, and is served as one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from carrara.core.clock import parse_time
from carrara.core.errors import DefinitionError, TrainingError
from carrara.features.training_set import read_training_set
from carrara.models.registry import learned_files, opened, resolve
from carrara.pipelines.out_of_fold import with_folds
from carrara.pipelines.scores import stages_of
from carrara.pipelines.scoring import recorded_model
from carrara.training.inputs import Inputs
from carrara.training.model import Label, Model
from carrara.training.out_of_fold import scores_of_folds
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
    path.write_text(path.read_text().replace('features=("driver_trips", "trip:far")', 'features=("trip:far",)'))
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
    with pytest.raises(DefinitionError, match=r"(?s)2 score_folds, and reads no scores.*score_folds=5"):
        Model("m", ("v:a",), label, None, LightGBM(), score_folds=2)
    with pytest.raises(DefinitionError, match="partitioned, and reads scores"):
        Model("m", ("v:a",), label, None, LightGBM(), partition_by=("v:a",), scores=("risk@1",))


NOISE = """
import carrara

coins = carrara.Dataset("coins", source="coins.parquet")


@carrara.on_demand_view(request={"a": "float64", "b": "float64"}, features={"x": "float64", "y": "float64"})
def noise(a, b):
    return {"x": a, "y": b}


def model(name, **more):
    label = carrara.Label("coins", "heads", "at", "seen_at")
    split = carrara.TimeSplit(validation_from="2024-01-20", test_from="2024-01-25")
    return carrara.Model(name, label=label, split=split, **more)


luck = model(
    "luck",
    features=("noise",),
    trainer=carrara.XGBoost(trees=1, depth=14, learning_rate=1.0, min_child_weight=0.01, l2=0.001),
)
second = model(
    "second", features=("noise:x",), scores=("luck@1",), score_folds=FOLDS, trainer=carrara.Linear(l2=0.01)
)
"""


def coins(folder: Path, folds: int, rows: int = 3_000) -> Path:
    """A workspace with coins that nothing tells how they fall, and a first model that remembers each that it saw."""
    random = np.random.default_rng(0)
    at = datetime(2024, 1, 1, tzinfo=UTC) + np.sort(random.uniform(0, 30, rows)) * timedelta(days=1)
    columns = {"at": at.tolist(), "seen_at": (at + timedelta(hours=6)).tolist(), "heads": random.random(rows) < 0.5}
    folder.mkdir(parents=True)
    pl.DataFrame({**columns, "a": random.normal(size=rows), "b": random.normal(size=rows)}).write_parquet(
        folder / "coins.parquet"
    )
    (folder / "carrara.toml").write_text("")
    (folder / "definitions.py").write_text(NOISE.replace("FOLDS", str(folds)))
    return folder


def test_scores_out_of_fold_do_not_tell_what_only_memory_knows(tmp_path):
    with Workspace(coins(tmp_path / "ws", folds=3)) as workspace:
        workspace.train("luck")
        trained = workspace.train("second")
        stores, record = workspace.stores, workspace.models.record("second@1")
        stage = folded(stores, "second@1")
        rows = read_training_set(stores, "second", record["datasets"]["training_set"]["version"])[1].collect()
        seen = rows.filter((pl.col("at") >= stage.folds[0].begin) & (pl.col("at") < parse_time("2024-01-19")))
        in_sample = scores_of_folds([replace(stage, folds=(replace(stage.folds[0], graph=stage.graph),))], seen, "at")
        out_of_fold = scores_of_folds([stage], seen, "at")
        area = {
            name: roc_auc_score(seen["heads"], found["luck@1"][:, 0])
            for name, found in {"in": in_sample, "out": out_of_fold}.items()
        }
        # The version knows its own rows by heart, which would be all that the second model looks at.
        assert area["in"] > 0.85
        assert 0.45 < area["out"] < 0.55
        assert trained.evaluation.metrics["log_loss"].value < 0.75
        assert record["metrics"]["validation"] == {}
        assert record["datasets"]["parts"]["train"]["rows"] < rows.height * 0.6
        assert workspace.models.reproduce("second@1").equal
        # What only the first model reads is an input, and no column of the second one's matrix.
        with opened(stores, workspace.models.get("second@1")) as servable:
            assert [spec.name for spec in servable.signature.inputs] == ["noise:x", "noise:y"]
            matrix = Inputs.of_files(servable.signature.inputs, learned_files(stores, workspace.models.get("second@1")))
        assert matrix.names == ("noise:x", "luck@1:probability")
        (found,) = workspace.predict("second@1", [{"a": 0.1, "b": 0.2}]).rows["probability"]
        assert 0 < found < 1
        assert workspace.train("second").reused


def test_a_fold_knows_only_what_was_known_when_it_begins(tmp_path):
    folder = coins(tmp_path / "ws", folds=2, rows=400)
    table = pl.read_parquet(folder / "coins.parquet")
    with Workspace(folder) as workspace:
        workspace.train("luck")
        first = folded(workspace.stores, "luck@1", "luck@1")
    later = pl.col("seen_at") >= first.folds[1].begin
    changed = table.with_columns(heads=pl.when(later).then(~pl.col("heads")).otherwise("heads"))
    changed.write_parquet(folder / "coins.parquet")
    with Workspace(folder) as workspace:
        workspace.train("luck")
        second = folded(workspace.stores, "luck@2", "luck@2")
    assert [one.graph == other.graph for one, other in zip(first.folds, second.folds, strict=True)] == [True, True]
    assert first.graph != second.graph


def test_a_backtest_fits_the_first_stage_anew_at_each_origin(tmp_path):
    with Workspace(coins(tmp_path / "ws", folds=2, rows=900)) as workspace:
        workspace.train("luck")
        found = workspace.backtest("second", origins=2, every="5d")
        assert [fold.train_rows > 100 for fold in found.folds] == [True, True]
        # The version knows the rows of the first origin by heart, and its model at that origin knew none of them.
        assert all(0.3 < fold.metrics["roc_auc"].value < 0.7 for fold in found.folds)
        path = tmp_path / "ws" / "definitions.py"
        path.write_text(path.read_text().replace("score_folds=2, ", ""))
    with (
        Workspace(tmp_path / "ws") as workspace,
        pytest.raises(TrainingError, match=r"(?s)which know what came later: it has no backtest.*score_folds=5"),
    ):
        workspace.backtest("second")


def test_folds_with_too_few_rows_are_said(tmp_path):
    with Workspace(coins(tmp_path / "ws", folds=40, rows=120)) as workspace:
        workspace.train("luck")
        with pytest.raises(TrainingError, match=r"(?s)fold 1 of 40 of luck@1, on what was.*fewer score_folds"):
            workspace.train("second")


def folded(stores, address: str, of: str = "luck@1"):
    """The stage that a version reads, with its folds fitted anew."""
    model, service = recorded_model(stores, resolve(stores, address))
    return with_folds(stores, stages_of(stores, model, service, (of,)), model.score_folds or 2)[0]
