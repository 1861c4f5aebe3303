"""Slices by SQL, from the definition to the gates, the comparison, the report and live metrics."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_train import edit
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "monitoring"))
from served import log_trips, trips_between

from carrara.cli.main import app
from carrara.core.errors import ColumnMissing
from carrara.workspace.workspace import Workspace

SLICES = """slices=(
        "depot",
        {"far": "distance > 60", "full": '"depot_state:load" > 0.5', "weekend": "dayofweek(at) IN (0, 6)"},
        {"d": "delay > 9"},
        ("far", "depot"),
    ),"""
GATES = """gates=(
        carrara.no_slice_below("roc_auc", 0.99, min_rows=300),
        carrara.no_slice_worse_than_champion("roc_auc", min_rows=50),
    ),"""
NAMES = {"depot", "far", "full", "weekend", "d", "far × depot"}


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.slow
def test_slices_by_sql_go_all_the_way(trained, tmp_path):
    changed = edit(trained, 'slices=("depot",),', SLICES)
    changed = edit(changed, 'gates=(carrara.at_least("roc_auc", 0.5),),', GATES)
    changed = edit(changed, "trees=40, depth=3", "trees=1, depth=1")
    made = changed.train("late")
    record = changed.models.record("late@2")
    assert {one["column"] for one in record["metrics"]["slices"]} == NAMES
    far = {one["value"]: one["rows"] for one in record["metrics"]["slices"] if one["column"] == "far"}
    assert set(far) == {"true", "false"}
    assert sum(far.values()) == record["metrics"]["test"]["roc_auc"]["rows"]
    assert record["configuration"]["slices"][1]["far"] == "distance > 60"
    below, champion = made.gates["results"]
    assert not below["passed"]
    assert "late@1" in made.gates["champion"]
    assert not champion["passed"]
    assert "the worst of" in champion["message"]
    compared = changed.models.compare("late@1", "late@2", slices=[{"middling": "distance BETWEEN 20 AND 80"}])
    assert {one.column for one in compared.others[0].slices} == {*NAMES, "middling"} - {"d"}  # its rows carry no delay
    assert len(compared.segments[0]["losses"]) == 2
    page = changed.models.report("late@2", tmp_path / "late.html").read_text()
    assert "far: <code>distance &gt; 60</code>" in page

    said = run("model", "compare", "late@2", "late@1", "--where", "distance > 60", "-w", changed.root)
    assert "wins where" in said.stdout
    assert "distance > 60 = true" in said.stdout
    assert "segments by log loss" in said.stdout
    told = json.loads(
        run("model", "compare", "late@2", "late@1", "--slice", "city", "-w", changed.root, "--json").stdout
    )
    assert {one["column"] for one in told["others"][0]["slices"]} == {*NAMES, "city"}
    unknown = CliRunner().invoke(
        app, ["model", "compare", "late@2", "late@1", "--where", "distence > 3", "-w", str(changed.root)]
    )
    assert unknown.exit_code == 1
    assert isinstance(unknown.exception, ColumnMissing) or "Did you mean 'distance'" in unknown.output

    start = datetime(2024, 1, 22, tzinfo=UTC)
    log_trips(changed, trips_between(changed, start, start + timedelta(days=6)), version=2)
    with Workspace(changed.root, clock=lambda: datetime(2024, 2, 10, tzinfo=UTC)) as later:
        window = later.monitoring.measure("late@2", window="7d").windows[0].as_dict()
    live = {(one["column"], one["value"]): one["rows"] for one in window["slices"]}
    assert {column for column, _ in live} == NAMES
    assert live["far", "true"] >= 200
    assert 0 < live["weekend", "(other)"] < 200 < live["weekend", "false"]


def test_a_slice_of_what_is_not_there_is_told_before_anything_is_computed(trained):
    changed = edit(trained, 'slices=("depot",),', 'slices={"far": "distence > 60"},')
    for ask in (changed.plan, lambda: changed.train("late")):
        with pytest.raises(ColumnMissing, match="Did you mean 'distance'"):
            ask()
    changed = edit(changed, 'slices={"far": "distence > 60"},', 'slices=("depott",),')
    with pytest.raises(ColumnMissing, match="Did you mean 'depot'"):
        changed.plan()
