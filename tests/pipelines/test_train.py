"""Training: steps that are done once, versions that are whole, and a run that survives being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import polars as pl
import pytest

from carrara.core.errors import CheckFailed, DataError, NotFoundError
from carrara.core.failpoints import ENVIRONMENT
from carrara.core.progress import Progress
from carrara.models.registry import opened
from carrara.workspace.workspace import Workspace

KEYS = (
    *("trained_by", "started_at", "ended_at", "configuration", "datasets", "features", "metrics", "charts"),
    *("parameters", "summary", "signature", "gates", "deployments", "code", "environment", "lineage"),
)


def edit(workspace: Workspace, before: str, after: str) -> Workspace:
    """The workspace opened again, with one thing changed in its definitions."""
    path = workspace.root / "definitions.py"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    workspace.close()
    return Workspace(workspace.root, clock=workspace.clock)


def test_a_second_run_reuses_every_step_and_makes_no_version(fresh):
    fresh.train("late")
    progress = Progress()
    again = fresh.train("late", progress=progress)
    assert again.reused
    assert [step.name for step in progress.steps if not step.reused] == []
    assert [str(v) for v in fresh.models.versions()] == ["late@1"]


def test_a_changed_trainer_repeats_the_training_and_not_the_training_set(trained):
    progress = Progress()
    changed = edit(trained, "trees=40", "trees=5").train("late", progress=progress)
    assert str(changed.version) == "late@2"
    reused = {step.name: step.reused for step in progress.steps}
    assert reused == {
        "datasets": True,
        "features": True,
        "training set": True,
        "train": False,
        "evaluate": False,
        "register": False,
    }


def test_a_comment_in_a_function_changes_nothing(trained):
    assert edit(trained, '"""How full a depot is."""', "# as the depots say").train("late").reused is False
    # its docstring is the view's description, which is part of its definition; a comment is not
    assert edit(trained, "# as the depots say", "# as they say it").train("late").reused


def test_changed_rows_of_a_source_reach_the_model(trained):
    source = trained.root / "trips.csv"
    lines = source.read_text().splitlines()
    source.write_text("\n".join(lines[:-1]) + "\n")
    progress = Progress()
    changed = trained.train("late", progress=progress)
    assert str(changed.version) == "late@2"
    assert trained.models.record("late@2")["datasets"]["sources"]["trips"]["version"] == 2


def test_the_same_rows_give_the_same_model_to_the_byte(fresh, tmp_path):
    first = fresh.train("late").version
    other = tmp_path / "other"
    other.mkdir()
    for name in ("carrara.toml", "definitions.py", "trips.csv", "depots.csv"):
        (other / name).write_bytes((fresh.root / name).read_bytes())
    with Workspace(other) as copy:
        second = copy.train("late").version
        files = [ws.models.record("late@1")["files"] for ws in (fresh, copy)]
    assert first.version == second.version == 1
    for name in ("servable/model.onnx", "learned/learned.json", "definitions/definitions.py"):
        assert files[0][name] == files[1][name], name


def test_the_record_holds_every_item_and_each_is_filled(trained):
    record = trained.models.record("late@1")
    assert [key for key in KEYS if not record.get(key)] == []
    assert {e["source"].partition(":")[0] for e in record["lineage"]} == {
        "file",
        "dataset",
        "feature_table",
        "training_set",
    }
    assert record["deployments"][0]["endpoint"] == "late"
    assert sum(feature["importance"] for feature in record["features"]) == pytest.approx(1)
    assert record["datasets"]["parts"]["train"]["to"] < record["datasets"]["parts"]["test"]["from"]


def test_what_is_measured_is_what_is_served(trained):
    version = trained.models.get("late@1")
    training_set = trained.models.record("late@1")["datasets"]["training_set"]
    from carrara.features.training_set import read_training_set

    found, rows = read_training_set(trained.stores, "late", training_set["version"])
    assert found.digest == training_set["digest"]
    test = rows.filter(pl.col("at") >= datetime(2024, 1, 20, tzinfo=UTC)).collect()
    with opened(trained.stores, version) as servable:
        names = tuple(spec.name for spec in servable.signature.inputs)
        columns = test.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in names)
        scores = servable.run({name: columns[name].to_numpy() for name in names})["probability"]
    from sklearn.metrics import roc_auc_score

    assert version.metrics["roc_auc"] == pytest.approx(roc_auc_score(test["late"], scores), abs=1e-9)


def test_no_feature_of_a_training_row_was_known_after_its_time(trained):
    """Recompute some rows by hand, from the raw files, with nothing later than the row's own time."""
    from carrara.features.training_set import read_training_set

    _, rows = read_training_set(trained.stores, "late", 1)
    sample = rows.collect().sample(200, seed=3)
    trips = trained.datasets.read("trips").collect()
    depots = trained.datasets.read("depots").collect()
    for row in sample.iter_rows(named=True):
        known = trips.filter(
            pl.col("driver") == row["driver"],
            pl.col("ended_at") <= row["at"],
            pl.col("ended_at") > row["at"] - pl.duration(hours=6),
        )
        assert row["driver_trips:count_6h"] == known.height
        assert row["driver_trips:delay_mean_6h"] == pytest.approx(known["delay"].mean())
        seen = depots.filter(
            pl.col("depot") == row["depot"], pl.col("city") == row["city"], pl.col("seen_at") <= row["at"]
        ).sort("seen_at")
        assert row["depot_state:load"] == pytest.approx(seen["load"][-1])


def test_a_version_whose_gates_fail_is_registered_and_cannot_be_deployed(trained):
    changed = edit(trained, 'at_least("roc_auc", 0.5)', 'at_least("roc_auc", 0.99)')
    failed = changed.train("late")
    assert not failed.gates["passed"]
    assert changed.models.get("late@2").gates_passed is False
    with pytest.raises(CheckFailed, match="is blocked") as error:
        changed.deploy("late@2")
    assert error.value.exit_code == 3
    assert [d.version for d in changed.deployments()] == [1]


def test_deploying_moves_the_endpoint_and_the_champion(trained):
    changed = edit(trained, "trees=40", "trees=5")
    changed.train("late")
    changed.deploy("late@2")
    assert [(d.endpoint, d.version) for d in changed.deployments()] == [("late", 2)]
    assert changed.models.aliases("late") == {"champion": 2}
    first = changed.models.record("late@1")["deployments"][0]
    assert first["to"] == changed.models.record("late@2")["deployments"][0]["from"]


@pytest.mark.parametrize(
    ("before", "after", "error", "says"),
    [
        ('features=("depot_state",', 'features=("depot_stat",', NotFoundError, "depot_state"),
        ('features=("depot_state",', 'features=("depot_state:lod",', NotFoundError, "depot_state:load"),
        ('column="late"', 'column="lat"', DataError, "late"),
        ('column="late"', 'column="delay"', DataError, "bool"),
        ('time="at"', 'time="distance"', DataError, "datetime"),
        ('test_from="2024-01-20"', 'test_from="2034-01-20"', DataError, "test part has no rows"),
        ('dataset="trips"', 'dataset="trip"', NotFoundError, "trips"),
        ('entity="depot",', 'entity="dept",', NotFoundError, "depot"),
        ('"load": "float64"', '"load": "string"', DataError, "float64"),
        ('"open": "bool"', '"opn": "bool"', DataError, "'open'"),
    ],
)
def test_a_wrong_definition_is_named_with_the_nearest_right_name(fresh, before, after, error, says):
    changed = edit(fresh, before, after)
    with pytest.raises(error) as raised:
        changed.train("late")
    assert says in str(raised.value)
    assert changed.models.versions() == []


def test_training_that_is_killed_anywhere_can_be_run_again_and_finishes(fresh):
    """P1: whatever moment the process dies at, the next run ends with one whole version."""
    command = [sys.executable, "-m", "carrara", "train", "late", "--workspace", str(fresh.root), "--json"]
    for seconds in (0.6, 0.9, 1.2, 1.5, 1.8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        for version in fresh.models.versions():
            with opened(fresh.stores, version) as servable:
                servable.warm_up()
    assert str(fresh.train("late").version) == "late@1"
    assert len(fresh.models.versions()) == 1


def test_a_training_that_is_killed_after_it_registered_makes_no_second_version(fresh):
    """P2 (F2): the version was made, and nobody was told."""
    command = [sys.executable, "-m", "carrara", "train", "late", "--workspace", str(fresh.root)]
    environment = {**os.environ, ENVIRONMENT: "register.after-commit=kill"}
    killed = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert str(fresh.train("late").version) == "late@1"
    assert [str(version) for version in fresh.models.versions()] == ["late@1"]
    assert fresh.train("late").reused
