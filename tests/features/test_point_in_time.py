"""The point-in-time join against a loop over rows, and against pandas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, known_row, minute, open_room, same, table
from hypothesis import HealthCheck, example, given, settings, strategies as st

from carrara.core.clock import duration
from carrara.core.errors import ColumnMissing, ColumnTypeMismatch, TimeWithoutZone

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
single = carrara.Entity("single", keys=("number",))
rows = carrara.Dataset("rows", source="rows.parquet")
FEATURES = {"x": "float64", "n": "int64", "s": "string", "b": "bool"}


@carrara.feature_view(
    entity="thing", source="rows", event_time="event", created_time="created", ttl="5m", features=FEATURES
)
def late(rows):
    return rows


@carrara.feature_view(entity="thing", source="rows", event_time="event", created_time="created", features=FEATURES)
def forever(rows):
    return rows


@carrara.feature_view(entity="single", source="rows", event_time="event", features={"x": "float64"}, ttl="5m")
def plain(rows):
    return rows.unique(["number", "event"], keep="any").with_columns(x=nw.col("n").cast(nw.Float64))
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
FEATURES = ("x", "n", "s", "b")
NUMBERS = st.integers(-(10**9), 10**9).map(lambda n: n / 1024) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])
MOMENTS = st.integers(0, 12).map(minute)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "", None]),
            "number": st.sampled_from([1, -2, 2**40, None]),
            "event": MOMENTS,
            "created": MOMENTS,
            "x": st.none() | NUMBERS,
            "n": st.none() | st.integers(-(10**9), 10**9),
            "s": st.none() | st.text(max_size=3),
            "b": st.none() | st.booleans(),
        }
    ),
    max_size=30,
    unique_by=lambda row: (row["name"], row["number"], row["event"], row["created"]),
)
LABELS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "", "never seen", None]),
            "number": st.sampled_from([1, -2, 2**40, None]),
            "at": st.integers(0, 20).map(minute),
        }
    ),
    min_size=1,
    max_size=20,
)


def row(event: float, created: float, x: float, name: str = "a", number: int = 1) -> dict:
    return {
        "name": name, "number": number, "event": minute(event), "created": minute(created),
        "x": x, "n": int(x), "s": str(x), "b": x > 0,
    }  # fmt: skip


def label(at: float, name: str | None = "a", number: int | None = 1) -> dict:
    return {"name": name, "number": number, "at": minute(at)}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return open_room(tmp_path_factory.mktemp("join"), DEFINITIONS, rows=table([], **SCHEMA))


def joined(room: Room, rows: list[dict], labels: list[dict], view: str) -> list[dict]:
    room.put(rows=table(rows, **SCHEMA))
    room.compute(view)
    return room.offline(table(labels), view).to_dicts()


@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, labels=LABELS, view=st.sampled_from(["late", "forever"]))
@example(rows=[row(5, 1, 1.0), row(5, 3, 3.0), row(5, 2, 2.0)], labels=[label(5)], view="forever")
@example(rows=[row(1, 9, 1.0), row(3, 9, 3.0), row(2, 9, 2.0)], labels=[label(9)], view="forever")
def test_each_label_gets_the_newest_row_that_was_true_and_known_at_its_time(room, rows, labels, view):
    """P5."""
    ttl = duration("5m") if view == "late" else None
    for asked, found in zip(labels, joined(room, rows, labels, view), strict=True):
        newest = known_row(rows, {"name": asked["name"], "number": asked["number"]}, asked["at"], ttl)
        for name in FEATURES:
            expected = newest[name] if newest is not None else None
            assert same(found[f"{view}:{name}"], expected), (asked, found, newest)


def test_a_large_join_is_what_pandas_merge_asof_makes_of_it(room):
    """P5."""
    random = np.random.default_rng(11)
    number, moment = random.integers(0, 200, 20_000), random.integers(0, 10_000, 20_000)
    rows = pl.DataFrame({"number": number, "minute": moment}).unique(maintain_order=True)
    frame = rows.select(
        name=pl.lit("a"), number="number",
        event=pl.lit(minute(0)).cast(UTC_TIME) + pl.duration(minutes="minute"),
        created=pl.lit(minute(0)).cast(UTC_TIME),
        x=pl.lit(0.0), n=pl.int_range(pl.len()), s=pl.lit(""), b=pl.lit(True),
    )  # fmt: skip
    room.put(rows=frame)
    room.compute("plain")
    labels = pl.DataFrame({"number": random.integers(0, 220, 5_000), "minute": random.integers(-5, 10_100, 5_000)})
    labels = labels.select("number", at=pl.lit(minute(0)).cast(UTC_TIME) + pl.duration(minutes="minute"))
    found = room.offline(labels, "plain")["plain:x"].to_numpy()
    left = pd.DataFrame({"number": labels["number"].to_numpy(), "at": labels["at"].dt.timestamp("us").to_numpy()})
    right = pd.DataFrame(
        {
            "number": frame["number"].to_numpy(),
            "at": frame["event"].dt.timestamp("us").to_numpy(),
            "n": frame["n"].to_numpy(),
        }
    ).sort_values("at")
    judge = pd.merge_asof(
        left.reset_index().sort_values("at"), right, on="at", by="number", tolerance=int(5 * 60 * 1e6)
    ).sort_values("index")
    np.testing.assert_array_equal(found, judge["n"].to_numpy())
    assert np.isnan(found).any()
    assert (~np.isnan(found)).any()


def test_a_late_row_never_changes_an_earlier_label(room):
    rows, labels = [row(1, 1, 1.0)], [label(at) for at in (0, 1, 2, 3, 4)]
    before = joined(room, rows, labels, "forever")
    after = joined(room, [*rows, row(2, 4, 2.0)], labels, "forever")
    assert [f["forever:x"] for f in before] == [None, 1.0, 1.0, 1.0, 1.0]
    assert [f["forever:x"] for f in after] == [None, 1.0, 1.0, 1.0, 2.0]


def test_a_late_row_that_is_older_than_what_was_known_is_never_seen(room):
    rows = [row(3, 3, 3.0), row(1, 5, 1.0)]
    assert [f["forever:x"] for f in joined(room, rows, [label(4), label(9)], "forever")] == [3.0, 3.0]


def test_a_correction_replaces_a_row_from_the_time_it_was_made(room):
    rows = [row(2, 2, 1.0), row(2, 6, 10.0), row(2, 4, 5.0)]
    found = joined(room, rows, [label(at) for at in (2, 4, 5, 6)], "forever")
    assert [f["forever:x"] for f in found] == [1.0, 5.0, 5.0, 10.0]


def test_a_row_is_fresh_up_to_and_at_its_ttl_and_gone_right_after(room):
    just = 1 / 60_000_000
    found = joined(room, [row(1, 1, 1.0)], [label(6 - just), label(6), label(6 + just)], "late")
    assert [f["late:x"] for f in found] == [1.0, 1.0, None]


def test_ttl_counts_from_the_event_and_not_from_when_it_became_known(room):
    assert [f["late:x"] for f in joined(room, [row(1, 6, 1.0)], [label(6), label(7)], "late")] == [1.0, None]


def test_the_rows_of_the_labels_keep_their_order_and_repeat_as_they_do(room):
    labels = [label(9), label(1), label(5), label(5), label(9, name="b")]
    rows = [row(at, at, float(at)) for at in range(1, 10)]
    assert [f["forever:x"] for f in joined(room, rows, labels, "forever")] == [9.0, 1.0, 5.0, 5.0, None]


def test_an_empty_view_gives_every_label_nothing(room):
    found = joined(room, [], [label(1), label(2, name=None)], "late")
    assert found == [{f"late:{name}": None for name in FEATURES}] * 2


def test_missing_not_a_number_and_infinite_values_are_kept_apart(room):
    rows = [{**row(at, at, 1.0), "x": x} for at, x in enumerate([None, math.nan, math.inf, -math.inf])]
    found = [f["forever:x"] for f in joined(room, rows, [label(at) for at in range(4)], "forever")]
    assert found[0] is None
    assert math.isnan(found[1])
    assert found[2:] == [math.inf, -math.inf]


def test_times_in_other_zones_and_units_are_the_same_moments(room):
    joined(room, [row(1, 1, 1.0), row(3, 3, 3.0)], [label(1)], "forever")
    labels = table([label(1), label(2.5), label(3)])
    utc = room.offline(labels, "forever")
    for dtype in (pl.Datetime("ns", "UTC"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "America/New_York")):
        assert room.offline(labels.with_columns(pl.col("at").cast(dtype)), "forever").equals(utc)


def test_keys_of_another_integer_width_are_the_same_keys(room):
    labels = table([label(1), label(1, number=-2)])
    rows = [row(1, 1, 1.0), row(1, 1, 2.0, number=-2)]
    expected = joined(room, rows, labels.to_dicts(), "forever")
    narrow = labels.with_columns(pl.col("number").cast(pl.Int32))
    assert room.offline(narrow, "forever").to_dicts() == expected


def test_labels_whose_times_name_no_zone_are_refused(room):
    joined(room, [row(1, 1, 1.0)], [label(1)], "forever")
    naive = table([label(1)]).with_columns(pl.col("at").dt.replace_time_zone(None))
    with pytest.raises(TimeWithoutZone, match="the times in 'at' of the labels name no zone"):
        room.offline(naive, "forever")


def test_labels_whose_times_are_texts_are_refused(room):
    joined(room, [row(1, 1, 1.0)], [label(1)], "forever")
    with pytest.raises(ColumnTypeMismatch, match="column 'at' of the labels is string, and datetime"):
        room.offline(table([label(1)]).with_columns(at=pl.lit("2024-01-01")), "forever")


def test_labels_without_a_key_column_name_it_and_the_nearest(room):
    joined(room, [row(1, 1, 1.0)], [label(1)], "forever")
    with pytest.raises(ColumnMissing, match=r"(?s)the labels has no column 'number'.*Did you mean 'numbr'"):
        room.offline(table([label(1)]).rename({"number": "numbr"}), "forever")


@pytest.mark.parametrize("view", ["forever", "plain"])
def test_labels_whose_keys_are_of_another_type_are_refused(room, view):
    joined(room, [row(1, 1, 1.0)], [label(1)], view)
    with pytest.raises(ColumnTypeMismatch, match="column 'number' of the labels is string, and int64"):
        room.offline(table([label(1)]).with_columns(pl.col("number").cast(pl.String)), view)
