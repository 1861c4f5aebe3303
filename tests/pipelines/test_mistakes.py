"""The rows that a version gets wrong, in its record and on the command line."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from test_train import edit
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import NotFoundError


def run(workspace, *arguments):
    return CliRunner().invoke(app, ["model", "mistakes", *arguments, "-w", str(workspace.root)], catch_exceptions=False)


def test_the_record_holds_rows_that_were_answered_wrongly_as_they_were(trained):
    record = trained.models.record("late@1")
    positive, negative = record["metrics"]["mistakes"]
    cells = record["charts"]["confusion_matrix"]["data"]["values"]
    matrix = {(one["label"], one["predicted"]): one["rows"] for one in cells}
    assert (positive["sort"], positive["count"]) == ("false positive", matrix["0", "1"])
    assert (negative["sort"], negative["count"]) == ("false negative", matrix["1", "0"])
    for one, late in ((positive, False), (negative, True)):
        for row in (*one["drawn"], *one["worst"]):
            assert row["late"] is late
            assert (row["score"] >= 0.5) is not late
        assert len(one["drawn"]) == len(one["worst"]) == 10
    scores = [row["score"] for row in positive["worst"]]
    assert scores == sorted(scores, reverse=True)
    first = positive["worst"][0]
    trips = trained.datasets.read("trips").filter(pl.col("driver") == first["driver"], ~pl.col("late")).collect()
    assert first["distance"] in trips["distance"]
    assert {one["name"] for one in record["features"]} & set(first)
    assert trained.models.evaluate("late@1").mistakes == record["metrics"]["mistakes"]


def test_the_command_line_shows_all_or_a_sort(trained):
    said = run(trained, "late@1", "false p").stdout
    assert "the 10 farthest from right" in said
    assert "false negative" not in said
    assert "10 of them drawn at random" in run(trained, "late@1", "--drawn").stdout
    told = json.loads(run(trained, "late@1", "false neg", "--json").stdout)
    assert [one["sort"] for one in told] == ["false negative"]
    with pytest.raises(NotFoundError, match="false positive"):
        run(trained, "late@1", "false positiv3")


def test_what_tells_of_a_person_is_left_out(fresh):
    fresh.datasets.ingest("trips")
    schema = fresh.datasets.infer_schema("trips")
    text = schema.read_text()
    assert "[columns.driver]" in text
    schema.write_text(text.replace("[columns.driver]\n", "[columns.driver]\npii = true\n"))
    changed = edit(fresh, '"load": "float64"', '"load": carrara.Feature("float64", pii=True)')
    changed.train("late")
    (positive, _) = changed.models.record("late@1")["metrics"]["mistakes"]
    shown = set(positive["worst"][0])
    assert {"place", "score", "late", "depot", "at", "driver_trips:delay_mean_2d"} <= shown
    assert not {"driver", "depot_state:load"} & shown


@pytest.mark.parametrize(
    ("name", "sorts"),
    [
        ("regression", {"too high", "too low"}),
        ("multiclass", {"fair taken for poor", "poor taken for fair", "fair taken for fine", "fine taken for fair"}),
        ("multilabel", {"cheap: false positive", "cheap: false negative", "good: false positive"}),
        ("ranking", set()),
    ],
)
def test_other_kinds_have_their_own_sorts(kinds, name, sorts):
    found = kinds.workspace.models.record(kinds.trained(name))["metrics"]["mistakes"]
    assert sorts <= {one["sort"] for one in found}
    assert bool(found) is bool(sorts)
    for one in found:
        for row in one["worst"]:
            assert np.isfinite(row["score"]).all()
