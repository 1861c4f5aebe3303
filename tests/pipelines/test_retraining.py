"""Retraining: the scheduler trains a model when enough is new, and says why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from carrara.core.errors import DefinitionError
from carrara.training.retrain import Retrain
from carrara.workspace.workspace import Workspace
from commands import carrara


def declared(folder: Path, retrain: str) -> None:
    path = folder / "definitions.py"
    text = path.read_text().replace('    "late",\n', f'    "late",\n    retrain=carrara.Retrain({retrain}),\n', 1)
    fixed = 'TimeSplit(validation_from="2024-01-15", test_from="2024-01-20")'
    assert fixed in text
    path.write_text(text.replace(fixed, "RollingSplit()"))


def at(folder: Path, moment: datetime) -> Workspace:
    return Workspace(folder, clock=lambda: moment)


def test_a_model_is_trained_when_enough_labels_are_new(fresh):
    declared(fresh.root, 'rows=100, check="@daily", new_rows=True')
    lines = (fresh.root / "trips.csv").read_text().splitlines(keepends=True)

    def round_with(trips: int, day: int) -> list[str]:
        (fresh.root / "trips.csv").write_text("".join(lines[: trips + 1]))
        with at(fresh.root, datetime(2026, 5, day, 1, tzinfo=UTC)) as workspace:
            return [(one.kind, one.said, one.error) for one in workspace.run_due()]

    assert round_with(400, 1) == [("retraining", "it has no version yet: late@1 registered", None)]
    assert round_with(450, 1) == []
    ((_, said, error),) = round_with(450, 2)
    assert (said.startswith("not trained: "), " new rows since late@1, of 100" in said, error) == (True, True, None)
    ((_, said, error),) = round_with(590, 3)
    assert (said.endswith(" new rows since late@1, of 100: late@2 registered"), error) == (True, None)
    with Workspace(fresh.root) as workspace:
        summary = workspace.models.record("late@2")["summary"]
        assert summary["why"] == [said.removesuffix(": late@2 registered")]
        assert summary["start"] == "late@1"
        assert workspace.runs("train")[0].parameters["why"] == summary["why"]
        assert [version.version for version in workspace.models.versions()] == [1, 2]


def test_the_scheduler_says_why_it_trained_or_not(fresh):
    declared(fresh.root, "rows=1_000")
    assert "it has no version yet: late@1 registered" in carrara("scheduler", "--once", "-w", fresh.root).stdout
    kinds = {run["kind"]: run for run in json.loads(carrara("run", "list", "--json", "-w", fresh.root).stdout)}
    assert kinds["train"]["parameters"]["why"] == ["it has no version yet"]
    assert kinds["schedule"]["state"] == "complete"


def test_a_retrain_that_could_not_be_is_refused():
    for wrong in ({"rows": 0}, {"rows": 3, "check": "often"}):
        with pytest.raises(DefinitionError):
            Retrain(**wrong)


def test_a_rolling_split_moves_on_with_its_rows(tmp_path):
    from carrara.data.splits import RollingSplit

    days = pl.DataFrame({"at": [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 31)]})
    split = RollingSplit(validation="5d", test="3d")
    parts = split.split(days, time="at", known_at=None)
    assert {name: (part["at"].min().day, part["at"].max().day) for name, part in parts.items()} == {
        "train": (1, 22),
        "validation": (23, 27),
        "test": (28, 30),
    }
    later = pl.concat([days, pl.DataFrame({"at": [datetime(2024, 2, 1, tzinfo=UTC)]})])
    assert split.split(later, time="at", known_at=None)["test"]["at"].min().day == 30
