"""Which version is meant: what may live, and every line of the table that leads from TFX's resolvers."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import carrara
from carrara.core.errors import CarraraError, CheckFailed, NotFoundError
from carrara.metadata.aliases import move_alias
from carrara.metadata.decisions import add_decision
from carrara.metadata.model_search import Page
from carrara.models.approval import blocking
from carrara.models.registry import list_models, resolve
from carrara.pipelines.retraining import reason_to_retrain
from commands import carrara as command
from tiny_models import add_tiny, stores_at

PAGE = Path(__file__).parents[2] / "docs" / "resolvers.md"
ROWS = re.findall(r"^\| (`.+?`) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
TABLE = {name: here for names, here in ROWS for name in re.findall(r"`(\w+)`", names)}
OPERATORS = [
    "AllSpans",
    "ArtifactListSlice",
    "ConsecutiveSpans",
    "EqualPropertyValues",
    "ExcludeSpans",
    "FilterArtifacts",
    "GraphTraversal",
    "GroupByDisjointLineage",
    "GroupByPivot",
    "LatestCreateTime",
    "LatestPipelineRun",
    "LatestPipelineRunOutputs",
    "LatestPolicyModel",
    "LatestSpan",
    "LatestVersion",
    "ListToDict",
    "PairedSpans",
    "Shuffle",
    "Siblings",
    "SkipIfEmpty",
    "SkipIfLessThanNSpans",
    "Slice",
    "SlidingWindow",
    "SpanDrivenEvaluatorInputs",
    "StaticSpanRange",
    "TrainingRange",
    "UnprocessedArtifacts",
    "Unnest",
]
STRATEGIES = ["LatestBlessedModelStrategy", "LatestArtifactStrategy", "SpanRangeStrategy", "ConditionalStrategy"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blessed")
    made = stores_at(f"sqlite:///{folder}/m.db", folder)
    yield made
    made.close()


def test_what_is_blessed_is_what_may_be_deployed_whatever_was_decided(stores):
    """The query and the rule say the same of every history of decisions."""
    for passed, *words in itertools.product([True, False], *[[None, "rejected", "overridden"]] * 2):
        version = add_tiny(stores, "judged", gates_passed=passed, learned=f"{passed}{words}".encode())
        for word in filter(None, words):
            add_decision(stores.metadata, "judged", version.version, word, "because")
    for where, wanted in (("blessed = true", True), ("blessed = false", False), ("blessed != true", False)):
        found = {str(one) for one in list_models(stores, "judged", Page(where))}
        assert found == {str(one) for one in list_models(stores, "judged") if (not blocking(stores, one)) is wanted}
    with pytest.raises(CarraraError, match="blessed is true or false"):
        list_models(stores, "judged", Page("blessed = 'yes'"))


def test_the_newest_blessed_version_changes_as_people_decide(stores):
    good, better = add_tiny(stores, "late", learned=b"1"), add_tiny(stores, "late", learned=b"2")
    failed = add_tiny(stores, "late", learned=b"3", gates_passed=False)
    assert resolve(stores, "late@latest") == resolve(stores, "models:/late/latest") == failed
    assert resolve(stores, "models:/late@blessed") == better
    add_decision(stores.metadata, "late", better.version, "rejected", "it is wrong on Mondays")
    assert resolve(stores, "late@blessed") == good
    add_decision(stores.metadata, "late", failed.version, "overridden", "we need it")
    assert resolve(stores, "late@blessed") == failed


def test_where_no_version_may_live_the_address_says_so(stores):
    add_tiny(stores, "poor", gates_passed=False)
    with pytest.raises(NotFoundError, match=r"(?s)no blessed version 'poor@blessed'.*a gate that failed"):
        resolve(stores, "poor@blessed")
    with pytest.raises(NotFoundError, match="Did you mean 'blessed'"):
        resolve(stores, "poor@blesed")


def test_an_alias_that_was_called_so_before_leads_where_it_did(stores):
    add_tiny(stores, "old", learned=b"1")
    add_tiny(stores, "old", learned=b"2")
    move_alias(stores.metadata, "old", "blessed", 1)
    assert str(resolve(stores, "old@blessed")) == "old@1"


@pytest.fixture
def ws(trained):
    """`late@1` was trained and deployed; the gates of `late@2` failed; ann owns `late@3`."""
    add_tiny(trained.stores, "late", learned=b"2", gates_passed=False)
    add_tiny(trained.stores, "late", learned=b"3", owner="ann", sources=("training_set:late@1",))
    return trained


def test_nobody_points_the_words_that_are_found_by_themselves(ws):
    for word in ("blessed", "latest"):
        with pytest.raises(CarraraError, match="is found by itself"):
            ws.models.move_alias("late@1", word)


def test_before_any_version_may_live_a_baseline_is_none_and_the_gates_still_judge(ws):
    """TFX's evaluator without a blessed model: there is nothing to compare with, and the model is judged alone."""
    ws.models.reject("late@1", "to see what is left")
    ws.models.reject("late@3", "to see what is left")
    gates = [
        {"gate": "not_worse_than_champion", "metric": "roc_auc"},
        {"gate": "at_least", "metric": "roc_auc", "value": 0.5},
    ]
    found = ws.models.evaluate({"model": "late@1", "baseline": "late@blessed", "gates": gates})
    assert (found.baseline, found.blessed) == (None, True)
    assert "no champion yet" in found.gates["results"][0]["message"]
    with pytest.raises(NotFoundError, match="blessed version"):
        ws.models.evaluate("late@blessed")


def test_a_pushed_folder_leads_to_its_version_and_to_the_data_behind_it(ws, tmp_path):
    folder = ws.models.push("late@1", tmp_path / "served")
    assert ws.trace("late@1").targets("folder") == [f"folder:{folder.resolve()}"]
    traced = ws.trace(str(folder))
    assert traced.sources("model") == ["model:late@1"]
    assert {"dataset:trips@1", "dataset:depots@1"} <= set(traced.sources("dataset"))
    with pytest.raises(NotFoundError, match="no folder that was pushed"):
        ws.trace(str(tmp_path))


def test_the_command_names_what_is_of_one_kind(ws):
    told = command("lineage", "trips", "--only", "model", "-w", ws.root)
    assert told.stdout.split() == ["model:late@1", "model:late@3"]
    told = json.loads(command("lineage", "late@1", "--only", "dataset", "--json", "-w", ws.root).stdout)
    assert told["made_into"] == []
    assert set(told["made_from"]) == {"dataset:trips@1", "dataset:depots@1"}


def test_the_table_has_every_strategy_and_operator_once():
    assert sorted(TABLE) == sorted([*OPERATORS, *STRATEGIES])


def evaluated(name: str, ws: Any) -> Any:
    """The value of the first expression in the table's line."""
    text = re.search(r"`([^`]+)`", TABLE[name])[1]
    ast.parse(text, mode="eval")
    return eval(text, {"ws": ws, "carrara": carrara, "Model": lambda seed: seed})


def trips(day: int, days: int = 1) -> pl.DataFrame:
    return pl.DataFrame({"at": [datetime(2024, 1, day, tzinfo=UTC) + timedelta(days=n) for n in range(days)]})


def parts(split: Any) -> dict[str, tuple[int, int]]:
    """The first and the last day of January of each part, of a row a day."""
    found = split.split(trips(1, 30), time="at", known_at=None)
    return {name: (rows["at"].dt.day().min(), rows["at"].dt.day().max()) for name, rows in found.items()}


VALUES = {
    "LatestBlessedModelStrategy": lambda found: str(found) == "late@3",
    "LatestArtifactStrategy": lambda found: found.address == "dataset:trips@1",
    "SpanRangeStrategy": lambda found: parts(found) == {"train": (8, 14), "validation": (15, 19), "test": (20, 24)},
    "StaticSpanRange": lambda found: parts(found) == {"train": (8, 14), "validation": (15, 19), "test": (20, 30)},
    "AllSpans": lambda found: found.collect().height == 3_000,
    "EqualPropertyValues": lambda found: [str(one) for one in found] == ["late@3"],
    "FilterArtifacts": lambda found: [str(one) for one in found] == ["late@3"],
    "GraphTraversal": lambda found: found == ["model:late@1", "model:late@3"],
    "GroupByDisjointLineage": lambda found: found == {"training_set:late@1": ["model:late@1", "model:late@3"]},
    "GroupByPivot": lambda found: found == {"training_set:late@1": ["model:late@1", "model:late@3"]},
    "LatestCreateTime": lambda found: str(found) == "late@3",
    "LatestVersion": lambda found: str(found) == "late@3",
    "LatestPipelineRun": lambda found: found[-1] == "model:late@1",
    "LatestPipelineRunOutputs": lambda found: {"training_set:late@1", "model:late@1"} <= set(found),
    "LatestSpan": lambda found: parts(found) == {"train": (18, 24), "validation": (25, 26), "test": (27, 29)},
    "PairedSpans": lambda found: set(found) == {"dataset:trips@1", "dataset:depots@1"},
    "Siblings": lambda found: "training_set:late@1" in found and "model:late@1" in found,
    "Slice": lambda found: [str(one) for one in found] == ["late@2", "late@1"],
    "ArtifactListSlice": lambda found: [str(one) for one in found] == ["late@2", "late@1"],
    "SpanDrivenEvaluatorInputs": lambda found: found.rows["from"] >= "2024-01-25",
    "TrainingRange": lambda found: found["from"] < found["to"] < "2024-01-15" and found["rows"] > 1_000,
    "Unnest": None,
    "ListToDict": None,
}
"""What the expression of a line comes to; None where it is a loop over all versions."""


@pytest.mark.parametrize("name", VALUES)
def test_a_line_of_the_table_finds_what_the_operator_would(ws, name):
    found = evaluated(name, ws)
    assert VALUES[name](found) if VALUES[name] else found == ["late@1", "late@2", "late@3"]


def test_a_condition_that_does_not_hold_ends_the_way(ws):
    with pytest.raises(CheckFailed, match="late@2 is blocked"):
        evaluated("ConditionalStrategy", ws)


def test_each_policy_has_an_address(ws):
    wanted = {"late@latest": "late@3", "late@blessed": "late@3", "late@champion": "late@1"}
    assert re.findall(r"`([^`]+)`", TABLE["LatestPolicyModel"]) == list(wanted)
    assert {address: str(ws.models.get(address)) for address in wanted} == wanted


def test_excluded_days_are_in_no_part(ws):
    found = evaluated("ExcludeSpans", ws).split(trips(1, 30), time="at", known_at=None)
    days = [day for rows in found.values() for day in rows["at"].dt.day()]
    assert sorted(days) == [day for day in range(1, 31) if day not in (10, 11)]


def test_a_window_slides_over_the_past(ws):
    """Each origin trains on as many days, on what was known then."""
    text = (ws.root / "definitions.py").read_text()
    fixed = 'carrara.TimeSplit(validation_from="2024-01-15", test_from="2024-01-20")'
    moving = 'carrara.RollingSplit("4d", "4d", train="6d")'
    (ws.root / "definitions.py").write_text(text.replace(fixed, moving))
    ws.forget_definitions()
    assert TABLE["ConsecutiveSpans"] == TABLE["SlidingWindow"]
    folds = evaluated("SlidingWindow", ws).folds
    assert [fold.end - fold.origin for fold in folds] == [timedelta(days=4)] * 2
    assert folds[1].origin - folds[0].origin == timedelta(days=4)
    # 3,000 trips in 30 days: a train part of six days, wherever it lies.
    assert all(400 < fold.train_rows < 700 for fold in folds)


def test_too_few_new_rows_train_nothing(ws):
    model = ws.definitions.of_kind("model")["late"]
    for version in ("late@3", "late@2"):  # of no real training
        ws.models.delete(version)
    for name in ("SkipIfEmpty", "SkipIfLessThanNSpans"):
        assert not reason_to_retrain(ws.stores, model, evaluated(name, ws)).asks


def test_files_that_were_read_are_not_read_again(ws, tmp_path):
    source = evaluated("UnprocessedArtifacts", ws).read_from
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "a.csv").write_text("id\n1\n")
    _, taken = source.added(tmp_path, {})
    (tmp_path / "orders" / "b.csv").write_text("id\n2\n")
    assert set(source.added(tmp_path, taken)[1]) == {"b.csv"}


def test_a_seed_says_in_which_order_rows_come(ws):
    assert evaluated("Shuffle", ws) == 7
    assert "seed" in {field.name for field in dataclasses.fields(carrara.Model)}
