"""What becomes of answers when what should not decide is swapped: asked of a version, and as a gate."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from test_train import edit
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import DataError, DefinitionError, NotFoundError
from carrara.models.registry import opened
from carrara.pipelines import scoring

SWAP = {"trip:far": (0, 1)}


def run(workspace, *arguments):
    return CliRunner().invoke(app, ["model", "flips", *arguments, "-w", str(workspace.root)])


def test_a_version_is_asked_its_test_rows_twice(trained):
    found = trained.models.flips("late@1", SWAP)
    # The judge swaps by hand.
    stores, version = trained.stores, trained.models.get("late@1")
    model, service = scoring.recorded_model(stores, version)
    rows = scoring.test_rows(stores, version, model, trained.models.record("late@1")).select(list(service.features))
    turned = rows.with_columns((1 - pl.col("trip:far")).alias("trip:far"))
    with opened(stores, version) as servable:
        before, after = (servable.run(servable.signature.tensors(f))["probability"] for f in (rows, turned))
    assert (found.rows, found.asked) == (rows.height, rows.height)
    assert found.metrics["flip_rate"].value == pytest.approx(np.mean((before >= 0.5) != (after >= 0.5)))
    assert found.metrics["flip_rate"].value > 0
    assert {one.column for one in found.slices} == {"depot"}
    assert sum(one.rows for one in found.slices) == found.asked
    moves = [abs(one["after"] - one["before"]) for one in found.examples]
    assert moves == sorted(moves, reverse=True)
    assert all((one["before"] >= 0.5) != (one["after"] >= 0.5) for one in found.examples)
    assert {"driver", "at", "late", "trip:far"} <= set(found.examples[0])


def test_the_command_line_swaps_texts_and_several_features_together(trained):
    answered = run(trained, "late@1", "--swap", "trip:far=0,1", "--swap", "depot_state:open=true,false", "--json")
    assert answered.exit_code == 0, answered.output
    told = json.loads(answered.stdout)
    assert told["swap"] == {"trip:far": [0, 1], "depot_state:open": [True, False]}
    said = run(trained, "late@1", "--swap", "trip:far=0,1").stdout
    assert "test rows asked twice, trip:far 0 ↔ 1" in said
    assert "positive to negative" in said


def test_a_swap_that_cannot_be_made_is_told(trained):
    with pytest.raises(NotFoundError, match="Did you mean 'trip:far'"):
        trained.models.flips("late@1", {"trip:fat": (0, 1)})
    with pytest.raises(DataError, match="no test row of late@1 has one of the values"):
        trained.models.flips("late@1", {"trip:far": (7, 8)})
    with pytest.raises(DefinitionError, match="'trip:far' is no swap"):
        CliRunner().invoke(
            app,
            ["model", "flips", "late@1", "--swap", "trip:far", "-w", str(trained.root)],
            catch_exceptions=False,
        )


def test_gates_on_flips_are_judged_in_a_training_and_when_evaluated_again(trained):
    gates = """gates=(
        carrara.flips_at_most(0.0, {"trip:far": (0, 1)}),
        carrara.flips_at_most(1.0, {"trip:far": (0, 1)}, proven=True),
        carrara.flips_from_champion_at_most(0.0, proven=True),
    ),"""
    changed = edit(trained, 'gates=(carrara.at_least("roc_auc", 0.5),),', gates)
    changed = edit(changed, "trees=40, depth=3", "trees=5, depth=1")
    record = changed.models.record(str(changed.train("late").version))
    strict, lax, champion = record["gates"]["results"]
    assert (strict["passed"], lax["passed"], champion["passed"]) == (False, True, False)
    (kept,) = record["gates"]["flips"]
    assert kept["swap"] == {"trip:far": [0, 1]}
    assert kept["metrics"]["flip_rate"]["value"] == strict["found"]
    assert record["gates"]["paired_flips"]["flip_rate"]["value"] == champion["found"] > 0
    (beside,) = changed.models.compare("late@1", "late@2").others
    assert beside.flips["flip_rate"].value == pytest.approx(beside.answers.other_answers / beside.answers.rows)
    assert beside.flips["flip_rate"].value == pytest.approx(champion["found"])
    assert changed.models.evaluate("late@2").gates["results"] == record["gates"]["results"]


def test_a_gate_that_swaps_no_feature_is_an_error_before_anything_is_computed(fresh):
    for gate, error, said in (
        ('carrara.flips_at_most(0.1, {"trip:fat": (0, 1)})', NotFoundError, "Did you mean 'trip:far'"),
        ('carrara.flips_at_most(0.1, {"trip:far": (0, "x")})', DataError, "'trip:far' is a number"),
    ):
        changed = edit(fresh, 'gates=(carrara.at_least("roc_auc", 0.5),),', f"gates=({gate},),")
        with pytest.raises(error, match=said):
            changed.plan()
        edit(changed, f"gates=({gate},),", 'gates=(carrara.at_least("roc_auc", 0.5),),')


def test_answers_that_are_numbers_do_not_turn(kinds):
    with pytest.raises(DefinitionError, match="its label is a regression one"):
        kinds.workspace.models.flips(kinds.trained("regression"), {"offer:country": ("at", "it")})
