"""Continued training: on the rows alone that a version has not seen, with what it has fixed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from carrara.core.errors import TrainingError
from carrara.pipelines.garbage import collect
from carrara.workspace.workspace import Workspace
from commands import carrara

TRAINER = "trainer=carrara.XGBoost(trees=40, depth=3),"
ROLLING = 'split=carrara.RollingSplit(validation="4d", test="4d"),'
FIXED = 'split=carrara.TimeSplit(validation_from="2024-01-15", test_from="2024-01-20"),'


def edited(folder: Path, *changes: tuple[str, str]) -> Workspace:
    text = (folder / "definitions.py").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    (folder / "definitions.py").write_text(text)
    return Workspace(folder)


def cut(folder: Path, share: float) -> list[str]:
    """Leave the first trips of all, and return all."""
    lines = (folder / "trips.csv").read_text().splitlines(keepends=True)
    (folder / "trips.csv").write_text("".join(lines[: int(len(lines) * share)]))
    return lines


def test_training_goes_on_with_the_rows_that_a_version_has_not_seen(fresh):
    whole = cut(fresh.root, 0.7)
    with edited(fresh.root, (FIXED, ROLLING)) as workspace:
        first = workspace.train("late")
    (fresh.root / "trips.csv").write_text("".join(whole))
    with Workspace(fresh.root) as workspace:
        workspace.train("late", new_rows=True)
        one, two = (workspace.models.record(f"late@{number}") for number in (1, 2))
        summary, learned = two["summary"], one["datasets"]["parts"]["train"]["rows"]
        assert summary["start"] == "late@1"
        assert summary["rows_learned"] + learned == two["datasets"]["parts"]["train"]["rows"]
        assert one["datasets"]["parts"]["train"]["to"] < summary["seen"] < two["datasets"]["training_set"]["until"]
        assert f"model:{first.version}" in {edge["source"] for edge in two["lineage"]}
        assert two["parameters"]["trees"] > one["parameters"]["trees"]
        assert workspace.models.reproduce("late@2").equal
        assert workspace.runs("train")[0].parameters["new_rows"] is True


def test_what_a_version_has_fixed_is_taken_over(fresh):
    """A vocabulary that was fitted anew would give its trees other places than they were grown on."""
    whole = cut(fresh.root, 0.7)
    crowd = (
        "from_depot = carrara.FeatureView('crowd', entity='depot', source='depots', event_time='seen_at',"
        " features={'level': 'string'}, sql=\"SELECT *, CASE WHEN load > 0.8 THEN 'full' WHEN load > 0.3 THEN 'half'"
        ' END AS level FROM depots")\n\nlate = carrara.Model('
    )
    changes = [
        (FIXED, ROLLING),
        ("late = carrara.Model(", crowd),
        ('features=("depot_state",', 'features=("crowd", "depot_state",'),
        (TRAINER, TRAINER + '\n    transforms=(carrara.Vocabulary("crowd:level"),),'),
    ]
    with edited(fresh.root, *changes) as workspace:
        workspace.train("late")
    (fresh.root / "trips.csv").write_text("".join(whole))
    with Workspace(fresh.root) as workspace:
        workspace.train("late", new_rows=True)
        digests = [workspace.models.record(f"late@{n}")["files"]["learned/transforms.onnx"]["sha256"] for n in (1, 2)]
        assert digests[0] == digests[1]
    workspace = edited(fresh.root, ('Vocabulary("crowd:level")', 'OneHot("crowd:level")'))
    with workspace, pytest.raises(TrainingError, match="columns"):
        workspace.train("late", start="late@1")


def test_new_rows_that_are_not_there_are_said(fresh):
    with pytest.raises(TrainingError, match=r"(?s)no version of 'late'.*carrara train late"):
        fresh.train("late", new_rows=True)
    fresh.train("late")
    with pytest.raises(TrainingError, match=r"(?s)no row of the train part.*late@1.*RollingSplit"):
        fresh.train("late", new_rows=True)
    done = carrara("train", "late", "--new-rows", "--trials", "3", "-w", fresh.root)
    assert (done.returncode, "Tune without --new-rows" in done.stderr) == (1, True)
    runs = carrara("run", "list", "--kind", "train", "--json", "-w", fresh.root)
    assert [run["state"] for run in json.loads(runs.stdout)] == ["failed", "complete"]


def test_of_new_days_transforms_learn_from_what_was_kept_of_the_old_ones(fresh):
    whole = cut(fresh.root, 0.7)
    ready = "\n    transforms=(carrara.Impute(), carrara.Standardise()),"
    with edited(fresh.root, (FIXED, ROLLING), (TRAINER, TRAINER + ready)) as workspace:
        workspace.train("late")
        first = workspace.models.record("late@1")["summary"]["analyses"]
        assert (first["kept"], len(first["read"])) == (0, first["days"])
    (fresh.root / "trips.csv").write_text("".join(whole))
    with Workspace(fresh.root) as workspace:
        trained = workspace.train("late")
        record = workspace.models.record("late@2")
        second = record["summary"]["analyses"]
        # Of the last day some rows were not in the part yet, as their labels were not known.
        assert second["read"]
        assert second["read"][0] >= first["read"][-1]
        assert second["kept"] >= first["days"] - 1
        assert workspace.models.reproduce("late@2").equal  # which reads all rows, and keeps nothing
        shown = carrara("run", "show", record["configuration"]["run"], "-w", fresh.root)
        assert f"of which {len(second['read'])} were read" in shown.stdout
        told = {column["name"]: column["statistics"] for column in record["summary"]["transformed"]}
        assert all(abs(one["mean"]) < 0.2 and one["nulls"] == 0 for one in told.values() if one["std"])
        shown = carrara("model", "show", str(trained.version), "-w", fresh.root)
        assert "before and after transforms" in shown.stdout
        kept = list((fresh.root / ".carrara" / "analyses").iterdir())
        assert not [item for item in collect(workspace.stores).items if "of a day" in item.why]
        for file in kept[:2]:
            os.utime(file, (0, 0))
        assert {item.path for item in collect(workspace.stores).items if "of a day" in item.why} == set(kept[:2])
        assert not kept[0].exists()
