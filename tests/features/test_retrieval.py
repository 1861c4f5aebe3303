"""Retrieval: what a request gets is what a training set would have held at its time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, table

from carrara.core.errors import DataError
from carrara.features.retrieval import Retriever

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
shop = carrara.Entity("shop", keys=("number",))
rows = carrara.Dataset("rows", source="rows.parquet")
TYPES = {"x": "float64", "n": "int64", "f": "float32", "b": "bool", "since": "datetime", "day": "date"}


@carrara.feature_view(
    entity="thing", source="rows", event_time="event", created_time="created", ttl="20m", features=TYPES
)
def state(rows):
    return rows


@carrara.feature_view(entity="shop", source="rows", event_time="event", features={"x": "float64"})
def shops(rows):
    return rows.unique(["number", "event"], keep="any").with_columns(x=nw.col("number") * 0.5)


recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="created", aggregations=(
    carrara.count(windows=("5m", "30m")), carrara.total("x", windows=("5m", "30m")),
    carrara.mean("x", windows=("30m",)), carrara.rate("b", windows=("30m",)), carrara.last("x", windows=("10m",)),
))


@carrara.on_demand_view(
    request={"distance": "float64", "name": "string", "when": "datetime"},
    inputs=("state:x", "state:since", "state:day", "recent:x_mean_30m"),
    features={"far": "float64", "letters": "int64", "age": "float64", "days": "float64", "apart": "float64"},
)
def trip(distance, name, when, x, since, day, x_mean_30m):
    return {
        "far": distance * x,
        "letters": [len(n) for n in name],
        "age": (when - since) / np.timedelta64(1, "s"),
        "days": (when - day) / np.timedelta64(1, "D"),
        "apart": np.maximum(x, x_mean_30m),
    }


@carrara.on_demand_view(request={"distance": "float64"}, inputs=("trip:apart",), features={"further": "float64"})
def next_trip(distance, apart):
    return {"further": distance + apart}
"""
SCHEMA = {
    "name": pl.String(), "number": pl.Int64(), "event": UTC_TIME, "created": UTC_TIME, "x": pl.Float64(),
    "n": pl.Int64(), "f": pl.Float32(), "b": pl.Boolean(), "since": UTC_TIME, "day": pl.Date(),
}  # fmt: skip
VIEWS = ("state", "shops", "recent")


def made_up_rows(seed: int, count: int = 600) -> pl.DataFrame:
    """Rows of four names and three numbers over 100 minutes, some of them late, some without a value."""
    draw = np.random.default_rng(seed)
    event = draw.integers(0, 100, count)
    rows = []
    for place, (name, number, late) in enumerate(
        zip(draw.integers(0, 4, count), draw.integers(-1, 2, count), draw.integers(-5, 15, count), strict=True)
    ):
        lacks = draw.random() < 0.2
        at = int(event[place])
        x = draw.choice([draw.normal(), np.inf, -np.inf, np.nan], p=[0.94, 0.02, 0.02, 0.02])
        rows.append(
            {
                "name": f"n{name}", "number": int(number), "event": minute(at), "created": minute(at + int(late)),
                "x": None if lacks else float(x),
                "n": None if lacks else int(draw.integers(-(2**40), 2**40)), "f": float(np.float32(draw.normal())),
                "b": None if lacks else bool(draw.random() < 0.5),
                "since": None if lacks else minute(at - 1000 + draw.random()),
                "day": None if lacks else minute(at - 99_999).date(),
            }
        )  # fmt: skip
    return table(rows, **SCHEMA).unique(["name", "number", "event", "created"], keep="first", maintain_order=True)


def asked(seed: int, times: list[float], count: int = 80) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return table(
        [
            {
                "name": f"n{draw.integers(0, 6)}", "number": int(draw.integers(-1, 3)),
                "at": minute(times[place % len(times)]), "distance": float(draw.normal()),
                "when": minute(draw.random() * 200),
            }
            for place in range(count)
        ],
        distance=pl.Float64(),
        when=UTC_TIME,
    )  # fmt: skip


def room_with(folder: Path, rows: pl.DataFrame) -> Room:
    room = open_room(folder, DEFINITIONS, rows=rows)
    room.compute(*VIEWS)
    return room


def as_floats(frame: pl.DataFrame) -> dict[str, list[float]]:
    return {
        name: (column.dt.timestamp("us") if column.dtype == UTC_TIME else column)
        .cast(pl.Float64)
        .fill_null(np.nan)
        .to_list()
        for name, column in zip(frame.columns, frame.get_columns(), strict=True)
    }


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return room_with(tmp_path_factory.mktemp("retrieval"), made_up_rows(1))


def test_online_is_offline_at_every_time_at_which_it_was_brought_up_to_date(room):
    """P5: for each kind of view, known and unknown entities, fresh and expired rows."""
    references = ("state", "shops", "recent", "trip", "next_trip")
    seen = {name: set() for name in room.service(*references).features}
    for seed, cut in enumerate([0, 1, 7, 20, 20.5, 33, 34, 60, 99, 115, 140, 300]):
        for view in VIEWS:
            room.materialise(view, minute(cut))
        labels = asked(seed, [cut])
        online, offline = room.online(labels, *references), as_floats(room.offline(labels, *references))
        assert list(online) == list(offline)
        for name, values in online.items():
            np.testing.assert_array_equal(values, offline[name], err_msg=f"{name} at {cut}")
            seen[name] |= set(np.isnan(values).tolist())
    counts = {name for name in seen if ":count_" in name or name.endswith(":letters")}
    assert {name for name, kinds in seen.items() if kinds != {True, False}} == counts


def test_online_is_offline_on_every_online_store(tmp_path, online_address):
    """P5."""
    room = open_room(tmp_path, DEFINITIONS, online=online_address, rows=made_up_rows(3))
    room.compute(*VIEWS)
    for cut in (20, 60):
        for view in VIEWS:
            room.materialise(view, minute(cut))
        labels = asked(cut, [cut])
        online, offline = room.online(labels, *VIEWS), as_floats(room.offline(labels, *VIEWS))
        for name, values in online.items():
            np.testing.assert_array_equal(values, offline[name], err_msg=f"{name} at {cut}")
    room.stores.close()


def test_online_between_two_updates_is_offline_as_it_was_known_at_the_first(tmp_path):
    """P5: windows slide and rows expire by the request's time, without an update."""
    rows = made_up_rows(2)
    room = room_with(tmp_path, rows)
    for view in VIEWS:
        room.materialise(view, minute(50))
    labels = asked(9, [50, 50.5, 55, 62, 69.99, 70, 70.01, 80, 81, 500])
    online = room.online(labels, *VIEWS)
    room.put(rows=rows.filter(pl.max_horizontal("event", "created") <= minute(50)))
    room.compute("state")
    room.put(rows=rows.filter(pl.col("created") <= minute(50)))
    room.compute("recent")
    room.put(rows=rows.filter(pl.col("event") <= minute(50)))
    room.compute("shops")
    offline = as_floats(room.offline(labels, *VIEWS))
    for name in (n for n in online if not n.startswith("shops:")):
        np.testing.assert_array_equal(online[name], offline[name], err_msg=name)
    np.testing.assert_array_equal(online["shops:x"], offline["shops:x"])


def one_row(**changes) -> dict:
    return {
        "name": "a", "number": 1, "event": minute(10), "created": minute(10), "x": 1.5, "n": 3, "f": 0.25, "b": True,
        "since": minute(1), "day": minute(1).date(), **changes,
    }  # fmt: skip


def label(at: float, name: str | None = "a", number: int = 1) -> dict:
    return {"name": name, "number": number, "at": minute(at)}


@pytest.fixture
def small(tmp_path: Path) -> Room:
    room = room_with(tmp_path, table([one_row()], **SCHEMA))
    for view in VIEWS:
        room.materialise(view, minute(10))
    return room


def test_a_row_is_served_up_to_and_at_its_ttl_and_not_right_after(small):
    just = 1 / 60_000_000
    found = small.online(table([label(30 - just), label(30), label(30 + just)]), "state:x")["state:x"]
    np.testing.assert_array_equal(found, [1.5, 1.5, np.nan])


def test_a_row_that_became_known_after_the_request_is_not_served(small):
    found = small.online(table([label(9), label(10)]), "state:x", "recent:count_5m")
    np.testing.assert_array_equal(found["state:x"], [np.nan, 1.5])
    np.testing.assert_array_equal(found["recent:count_5m"], [0.0, 1.0])


def test_numbers_booleans_times_and_dates_are_served_as_the_numbers_a_model_was_trained_on(small):
    labels = table([label(10)])
    found = {name: values.tolist() for name, values in small.online(labels, "state").items()}
    assert found == as_floats(small.offline(labels, "state"))


def test_an_entity_that_was_never_seen_has_nothing_and_counts_zero(small):
    labels = table([label(10, name="b"), label(10, number=7), label(10, name=""), label(10, name=None)])
    found = small.online(labels, "state", "recent")
    for name, values in found.items():
        expected = 0.0 if ":count_" in name else np.nan
        np.testing.assert_array_equal(values, [expected] * 4, err_msg=name)


def test_a_missing_key_is_nobody_even_where_somebody_is_called_none(tmp_path):
    room = room_with(tmp_path, table([one_row(name="None"), one_row(name="")], **SCHEMA))
    for view in VIEWS:
        room.materialise(view, minute(10))
    labels = table([label(10, name=None)])
    assert np.isnan(room.online(labels, "state:x")["state:x"]).all()
    assert room.offline(labels, "state:x")["state:x"].to_list() == [None]


def test_rows_come_back_in_the_order_of_the_request_and_repeat_as_it_does(small):
    labels = table([label(10), label(10, name="b"), label(10), label(12), label(10)])
    found = small.online(labels, "state:x", "recent:x_sum_5m")
    np.testing.assert_array_equal(found["state:x"], [1.5, np.nan, 1.5, 1.5, 1.5])
    np.testing.assert_array_equal(found["recent:x_sum_5m"], [1.5, np.nan, 1.5, 1.5, 1.5])


def test_only_the_features_of_the_service_are_given_in_its_order(small):
    found = small.online(table([label(10)]), "recent:x_last_10m", "state:b")
    assert {name: values.tolist() for name, values in found.items()} == {"recent:x_last_10m": [1.5], "state:b": [1.0]}
    assert list(found) == ["recent:x_last_10m", "state:b"]


def test_a_request_for_no_rows_gets_empty_columns(small):
    found = small.online(table([label(10)]).clear(), *VIEWS)
    assert {values.shape for values in found.values()} == {(0,)}


def test_a_view_that_was_never_materialised_is_named(tmp_path):
    room = room_with(tmp_path, table([one_row()], **SCHEMA))
    retriever = Retriever(room.service("state", "recent"), room.stores.online)
    with pytest.raises(DataError, match=r"(?s)not in the online store.*state, recent.*materialise state recent"):
        retriever.check()
    room.materialise("state", minute(10))
    with pytest.raises(DataError, match="reads them: recent"):
        retriever.check()
    room.materialise("recent", minute(10))
    retriever.check()
