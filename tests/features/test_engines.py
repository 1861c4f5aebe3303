"""Spark computes, joins and brings online what the local engine does, bit by bit; the other tests judge that one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, raw_rows, table
from polars.testing import assert_frame_equal

from carrara.core.config import EngineSection
from carrara.core.errors import ConfigurationError, DataError, NotFoundError
from carrara.features.engines.base import feature_engine
from carrara.features.offline import FeatureTable
from carrara.features.pushes import push
from carrara.features.verification import verify
from carrara.workspace.workspace import Workspace

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs a JVM")

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
rows = carrara.Dataset("rows", source="rows.parquet")
nothing = carrara.Dataset("nothing", source="nothing.parquet")
FEATURES = {"x": "float64", "n": carrara.Feature("int64", default=-1), "s": "string", "b": "bool", "when": "datetime"}


@carrara.feature_view(entity="thing", source="rows", event_time="event", created_time="created", ttl="20m",
                      features=FEATURES)
def state(rows):
    return rows.filter(nw.col("n") > -900).with_columns(x=nw.col("x") * 2, when=nw.col("event"))


query = carrara.FeatureView("query", entity="thing", source="rows", event_time="event", created_time="created",
    features={"n": "int64"}, sql="SELECT name, number, event, created, n + 1 AS n FROM rows WHERE b")
recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="event", created_time="created",
    aggregations=(carrara.mean("x", windows=("10m", "30m")), carrara.count(windows=("10m",)),
                  carrara.last("n", windows=("30m",)), carrara.distinct("s", windows=("30m",))))
empty = carrara.AggregateView("empty", entity="thing", source="nothing", event_time="event",
    aggregations=(carrara.total("x", windows=("10m",)),))


@carrara.feature_view(entity="thing", source="rows", event_time="event", features={"n": "int64"})
def twice(rows):
    return rows


@carrara.feature_view(entity="thing", source="rows", event_time="event", features={"n": "string"})
def mistyped(rows):
    return rows


@carrara.feature_view(entity="thing", source="rows", event_time="event", features={"n": "int64"})
def failing(rows):
    return rows.with_columns(n=nw.col("absent"))


misspelt = carrara.FeatureView("misspelt", entity="thing", source="rows", event_time="event", features={"n": "int64"},
    sql="SELEKT 1")
"""
SCHEMA = {
    "name": pl.String(),
    "number": pl.Int64(),
    "event": UTC_TIME,
    "created": UTC_TIME,
    "x": pl.Float64(),
    "n": pl.Int64(),
    "s": pl.String(),
    "b": pl.Boolean(),
}
STORED = ("state", "query", "recent", "empty")


def drawn(seed: int, rows: int) -> pl.DataFrame:
    """Rows with ties, late and corrected ones, missing keys and values, and numbers that are none."""
    random = np.random.default_rng(seed)

    def some(values: list[object]) -> list[object]:
        return [values[place] for place in random.integers(0, len(values), rows)]

    events, delays = random.integers(0, 60, rows), random.integers(-5, 20, rows)
    frame = pl.DataFrame(
        {
            "name": some(["a", "b", "ü", "", None]),
            "number": some([1, -2, 2**40, None]),
            "event": [minute(int(event)) for event in events],
            "created": [minute(int(event + late)) for event, late in zip(events, delays, strict=True)],
            "x": some([0.5, -1.25, 3.0, None, float("nan"), float("inf")]),
            "n": random.integers(-1000, 1000, rows).tolist(),
            "s": some(["red", "green", None]),
            "b": some([True, True, False]),
        },
        schema=SCHEMA,
    )
    return frame.unique(["name", "number", "event", "created"], keep="first", maintain_order=True)


def labels(rows: int = 400) -> pl.DataFrame:
    random = np.random.default_rng(5)
    names = ["a", "b", "ü", "nobody", None]
    asked = [
        {"name": names[n % 5], "number": [1, -2, 2**40][int(random.integers(3))], "at": minute(float(at))}
        for n, at in enumerate(random.integers(-5, 90, rows))
    ]
    return table(asked)


def told(made: FeatureTable) -> dict[str, list[object]]:
    """What the statistics of parts add up to whatever the parts are; sums of floats are rounded otherwise."""
    names = ("type", "rows", "nulls", "distinct", "min", "max", "nan", "infinite", "top")
    return {column: [found.get(name) for name in names] for column, found in made.statistics.items()}


def room_of(folder: Path, engine: str) -> Room:
    room = open_room(folder, DEFINITIONS, rows=drawn(1, 500), nothing=drawn(1, 0))
    return replace(room, stores=replace(room.stores, engines=EngineSection(engine)))


@pytest.fixture
def pair(tmp_path) -> tuple[Room, Room]:
    return room_of(tmp_path / "here", "local"), room_of(tmp_path / "on spark", "spark:local[2]")


@needs_java
def test_views_joins_and_online_rows_are_those_of_the_local_engine(pair, tmp_path):
    tables = [room.compute(*STORED) for room in pair]
    assert [(t.rows, t.digest) for t in tables[0]] == [(t.rows, t.digest) for t in tables[1]]
    assert [t.rows > 0 for t in tables[0]] == [True, True, True, False]
    assert told(tables[0][0]) == told(tables[1][0])
    assert_frame_equal(*(room.offline(labels(), *STORED) for room in pair))

    for until in (20, 45):
        done = [[room.materialise(view, minute(until)) for view in STORED] for room in pair]
        assert done[0] == done[1]
    for room in pair:
        room.ingest()
        for view in ("state", "recent"):
            late = {"name": "a", "number": 1, "event": minute(30), "created": minute(31), "x": 8.0, "n": 8, "s": "new"}
            push(room.stores, room.view(view), room.entity(view), [late | {"b": True, "when": minute(30)}])
        room.put(rows=drawn(2, 400))
        room.compute(*STORED)
    assert_frame_equal(*(room.offline(labels(), *STORED) for room in pair))
    done = [[room.materialise(view, minute(70)) for view in STORED] for room in pair]
    assert done[0] == done[1]
    assert all(verify(room.stores, room.view(v), room.entity(v)).mismatches == () for room in pair for v in STORED)
    for room in pair:
        for view in STORED:
            room.materialise(view, minute(50), rebuild=True)
        room.stores.close()
    here, there = raw_rows(tmp_path / "here"), raw_rows(tmp_path / "on spark")
    assert len(here) > 20
    assert here == there


@needs_java
@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("twice", r"feature view 'twice' has several rows for one key and time: \{'name'"),
        ("mistyped", r"(?s)column 'n'.*feature view 'mistyped'"),
        ("failing", r"(?s)function of feature view 'failing' failed in Spark: .*columns were not found.*'number'"),
        ("misspelt", r"the SQL of feature view 'misspelt' failed in Spark: .*SELEKT"),
    ],
)
def test_what_is_wrong_with_a_view_is_said_as_the_local_engine_says_it(tmp_path, view, message):
    room = room_of(tmp_path, "spark:local[2]")
    with pytest.raises(DataError, match=message):
        room.compute(view)
    assert not room.stores.lake.exists(f"features/{view}")


@needs_java
def test_carrara_toml_names_the_engine(tmp_path):
    room_of(tmp_path, "local").stores.close()
    with (tmp_path / "carrara.toml").open("a") as file:
        file.write('[engine]\nfeatures = "spark:local[2]"\n')
    with Workspace(tmp_path) as workspace:
        workspace.datasets.ingest("rows")
        (computed,) = workspace.features.compute("query")
        joined = workspace.features.join("query", labels(), time="at")
    assert (computed.rows > 0, joined.height) == (True, 400)


def test_an_engine_that_is_none_is_said(tmp_path):
    with pytest.raises(NotFoundError, match="Did you mean 'spark'"):
        feature_engine(room_of(tmp_path / "a", "sparc:local").stores)
    with pytest.raises(ConfigurationError, match="names no master"):
        feature_engine(room_of(tmp_path / "b", "spark:").stores)


def test_an_embedded_online_store_is_no_place_for_workers_elsewhere(tmp_path):
    here = room_of(tmp_path, "local")
    here.compute("state")
    away = replace(here, stores=replace(here.stores, engines=EngineSection("spark://cluster:7077")))
    with pytest.raises(ConfigurationError, match=r"(?s)workers of spark://cluster:7077 cannot write.*redis://"):
        away.materialise("state", minute(10))
