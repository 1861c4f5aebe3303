"""The catalogue: finding a feature among many, and choosing those that tell of a label."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import CarraraError, DataError, NotFoundError
from carrara.features.catalogue import CatalogueEntry, search
from carrara.features.suggestion import choose
from carrara.workspace.workspace import Workspace
from commands import carrara

DEFINITIONS = """
import carrara

rides = carrara.Dataset("rides", source="rides.parquet")
drivers = carrara.Dataset("drivers", source="drivers.parquet")
driver = carrara.Entity("driver", keys=("driver",))


@carrara.feature_view(entity="driver", source="drivers", event_time="since", owner="fleet",
                      features={"skill": "float64", "copy": "float64", "noise": "float64"})
def profile(drivers):
    "What is known of a driver."
    return drivers.select("driver", "since", "skill", "copy", "noise")


recent = carrara.AggregateView("recent", entity="driver", source="rides", event_time="at", owner="fleet",
                               description="Late rides of late.", aggregations=(carrara.count(windows=("1h",)),))


@carrara.on_demand_view(request={"distance": "float64"}, inputs=("profile:skill",), features={"hard": "float64"})
def trip(distance, skill):
    "The ride itself."
    return {"hard": distance - skill}
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Rides that are late by the skill of their driver and by their distance."""
    folder = tmp_path_factory.mktemp("catalogue")
    random = np.random.default_rng(0)
    skill = random.normal(size=400)
    start = np.datetime64("2024-01-01", "us")
    known = {"skill": skill, "copy": skill * 2, "noise": random.normal(size=400)}
    drivers = pl.DataFrame({"driver": np.arange(400), "since": np.full(400, start), **known})
    who, distance = random.integers(0, 400, 6_000), random.normal(size=6_000)
    late = distance - skill[who] + 0.5 * random.normal(size=6_000) > 0
    times = start + np.arange(1, 6_001) * np.timedelta64(7, "m")
    rides = pl.DataFrame({"driver": who, "at": times, "distance": distance, "late": late})
    for name, frame, time in (("drivers", drivers, "since"), ("rides", rides, "at")):
        frame.with_columns(pl.col(time).dt.replace_time_zone("UTC")).write_parquet(folder / f"{name}.parquet")
    (folder / "carrara.toml").write_text("")
    (folder / "definitions.py").write_text(DEFINITIONS)
    with Workspace(folder) as opened:
        opened.datasets.ingest()
        opened.features.compute()
        yield opened


def test_a_feature_is_shown_with_all_that_is_known_of_it(workspace):
    entry = workspace.features.show("profile:skill")
    assert (entry.type, entry.entity, entry.owner, entry.kind) == ("float64", "driver", "fleet", "feature view")
    assert entry.description == "What is known of a driver."
    assert (entry.rows, entry.statistics["nulls"], entry.models) == (400, 0, ())
    with pytest.raises(NotFoundError, match="Did you mean 'profile:skill'"):
        workspace.features.show("profile:skil")


def test_a_search_ranks_names_over_descriptions_and_keeps_to_facets(workspace):
    find = workspace.features.search
    assert [e.feature for e in find("skill")] == ["profile:skill", "trip:hard"]
    assert [e.feature for e in find("known driver noise")] == ["profile:noise"]
    assert [e.feature for e in find("rid")] == ["recent:count_1h", "trip:hard"]
    assert find("late profile") == []
    assert {e.view for e in find("", kind="on-demand view")} == {"trip"}
    assert len(find()) == 5


def entry(feature: str, models: int = 0) -> CatalogueEntry:
    nothing = {"entity": None, "source": "", "description": "", "owner": "", "ttl": None, "definition": ""}
    nothing |= {"unit": "", "tags": (), "pii": False, "schedule": None}
    read_by = tuple(f"m@{n}" for n in range(models))
    unknown = {"computed_at": None, "rows": None, "statistics": None}
    return CatalogueEntry(
        feature, feature.partition(":")[0], "feature view", "int64", **nothing, **unknown, models=read_by
    )


def test_of_equal_features_the_one_that_models_read_comes_first():
    found = search([entry("a:fare"), entry("b:fare", models=2), entry("c:fares")], "fare")
    assert [e.feature for e in found] == ["b:fare", "a:fare", "c:fares"]


def test_suggestions_find_what_was_planted_and_reject_its_copy(workspace):
    found = {one.feature: one for one in workspace.features.suggest("rides:late", time="at")}
    order = list(found)
    assert order[0] == "trip:hard"
    # The copy tells as much as the skill itself, and nothing new.
    chosen, other = sorted(["profile:skill", "profile:copy"], key=order.index)
    assert found[chosen].relevance == pytest.approx(found[other].relevance, rel=1e-6)
    assert found[other].score < 0 < found[chosen].relevance
    assert (
        found.get("profile:noise") is None or found["profile:noise"].relevance < 0.02 * found[chosen].relevance + 0.02
    )


def test_the_choice_is_the_same_on_every_run_and_has_no_more_than_asked(workspace):
    one, other = (workspace.features.suggest("rides:late", time="at", most=2) for _ in range(2))
    assert one == other
    assert len(one) == 2


def test_features_that_tell_nothing_are_not_chosen():
    random = np.random.default_rng(1)
    target = random.integers(0, 2, 5_000)
    assert choose({"constant": np.zeros(5_000, np.int64)}, target, 5) == []
    assert [one.feature for one in choose({"same": target}, target, 5)] == ["same"]


def test_a_label_without_a_time_or_features_is_told(workspace):
    with pytest.raises(CarraraError, match="--time"):
        workspace.features.suggest("rides:late")
    with pytest.raises(NotFoundError, match="DATASET:COLUMN"):
        workspace.features.suggest("late", time="at")
    workspace.datasets.ingest_from("alone", workspace.datasets.read("rides").select("at", "late").collect())
    with pytest.raises(DataError, match="no feature can be joined"):
        workspace.features.suggest("alone:late", time="at")


def test_the_catalogue_is_on_the_command_line(workspace):
    def run(*arguments: str) -> str:
        done = carrara("feature", *arguments, "-w", workspace.root)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(run("search", "skill", "--json"))[0]["feature"] == "profile:skill"
    assert "What is known of a driver." in run("show", "profile:skill")
    assert len(json.loads(run("list", "--owner", "fleet", "--json"))) == 4
    suggested = json.loads(run("suggest", "--label", "rides:late", "--time", "at", "--json"))
    assert suggested[0]["feature"] == "trip:hard"
