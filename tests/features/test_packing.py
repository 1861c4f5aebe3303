"""Packed rows: what goes in comes out, bit for bit."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from feature_room import UTC_TIME
from hypothesis import given, settings, strategies as st

from carrara.core.clock import microseconds
from carrara.features.packing import RowLayout, pack_events, pack_rows, unpack_events, unpack_rows
from carrara.features.rows import EVENT_TIME, KNOWN_AT
from carrara.features.views import FeatureView
from carrara.features.windows import Events

TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))
VALUES = {
    "float64": st.floats(),
    "float32": st.floats(width=32),
    "int64": st.integers(-(2**53), 2**53),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "bool": st.booleans(),
    "datetime": TIMES,
    "string": st.text(max_size=5),
}
TYPES = {
    "float64": pl.Float64(),
    "float32": pl.Float32(),
    "int64": pl.Int64(),
    "int32": pl.Int32(),
    "bool": pl.Boolean(),
    "datetime": UTC_TIME,
    "string": pl.String(),
    "date": pl.Date(),
}


def view_of(features: dict[str, str]) -> FeatureView:
    return FeatureView("v", "e", "s", "t", features, lambda rows: rows)


@st.composite
def declared_frames(draw) -> tuple[FeatureView, pl.DataFrame]:
    """A view of random features, and prepared rows of it."""
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=6))
    features = {f"f{place}": name for place, name in enumerate(types)}
    height = draw(st.integers(0, 8))
    data = {name: draw(st.lists(TIMES, min_size=height, max_size=height)) for name in (EVENT_TIME, KNOWN_AT)}
    for name, dtype in features.items():
        data[name] = draw(st.lists(st.none() | VALUES[dtype], min_size=height, max_size=height))
    schema = {EVENT_TIME: UTC_TIME, KNOWN_AT: UTC_TIME, **{name: TYPES[t] for name, t in features.items()}}
    return view_of(features), pl.DataFrame(data, schema=schema)


def as_float(value) -> float:
    if value is None:
        return math.nan
    return float(microseconds(value)) if isinstance(value, datetime) else float(value)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(made=declared_frames(), gaps=st.lists(st.booleans(), min_size=8, max_size=8))
def test_rows_come_back_as_they_were_packed_and_missing_ones_as_missing(made, gaps):
    view, frame = made
    layout = RowLayout.of(view)
    packed = pack_rows(layout, frame)
    found = unpack_rows(layout, [None if gap else row for gap, row in zip(gaps, packed, strict=False)])
    assert found.there.tolist() == [not gap for gap in gaps[: frame.height]]
    for place, row in enumerate(frame.iter_rows(named=True)):
        if found.there[place]:
            assert found.event_times[place] == microseconds(row[EVENT_TIME])
            assert found.known_at[place] == microseconds(row[KNOWN_AT])
            expected = [as_float(row[name]) for name in layout.numbers]
            np.testing.assert_array_equal(found.numbers[place], expected)
            assert {name: texts[place] for name, texts in found.texts.items()} == {n: row[n] for n in layout.texts}


@settings(max_examples=50, derandomize=True, deadline=None)
@given(made=declared_frames())
def test_every_row_of_a_view_without_texts_has_the_length_of_its_layout(made):
    view, frame = made
    layout = RowLayout.of(view)
    assert all(len(row) >= layout.fixed for row in pack_rows(layout, frame))
    if not layout.texts:
        assert {len(row) for row in pack_rows(layout, frame)} <= {16 + 8 * len(view.features)}


TIME = st.integers(-(2**62), 2**62)
EVENTS = st.lists(st.tuples(TIME, TIME, st.floats(), st.floats()), max_size=9)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(entities=st.lists(EVENTS, max_size=6), gaps=st.sets(st.integers(0, 5)))
def test_the_events_of_several_entities_come_back_in_order_under_their_places(entities, gaps):
    flat = [(code, *event) for code, some in enumerate(entities) for event in some]
    rows = pack_events(events_of(flat), len(entities))
    assert [row is None for row in rows] == [not some for some in entities]
    events = unpack_events(("x", "y"), [None if place in gaps else row for place, row in enumerate(rows)])
    kept = events_of([event for event in flat if event[0] not in gaps])
    for found, expected in zip(columns_of(events), columns_of(kept), strict=True):
        assert found.tobytes() == expected.tobytes()


def events_of(flat: list[tuple]) -> Events:
    codes, times, known = (np.array([event[place] for event in flat], dtype=np.int64) for place in range(3))
    x, y = (np.array([event[place] for event in flat], dtype=np.float64) for place in (3, 4))
    return Events(codes, times, known, {"x": x, "y": y})


def columns_of(events: Events) -> list[np.ndarray]:
    return [events.codes, events.times, events.known, *events.columns.values()]


def test_events_without_columns_keep_their_times():
    moments = np.array([3, 5], dtype=np.int64)
    (packed,) = pack_events(Events(np.zeros(2, np.int64), moments, moments + 1, {}), 1)
    events = unpack_events((), [packed, None, packed])
    assert events.times.tolist() == [3, 5, 3, 5]
    assert events.known.tolist() == [4, 6, 4, 6]
    assert events.codes.tolist() == [0, 0, 2, 2]


def test_a_date_is_kept_as_the_days_that_a_training_set_makes_of_it():
    frame = pl.DataFrame(
        {EVENT_TIME: [datetime(2024, 1, 1, tzinfo=UTC)], KNOWN_AT: [datetime(2024, 1, 1, tzinfo=UTC)],
         "day": [date(2024, 2, 3)]},
        schema={EVENT_TIME: UTC_TIME, KNOWN_AT: UTC_TIME, "day": pl.Date()},
    )  # fmt: skip
    layout = RowLayout.of(view_of({"day": "date"}))
    found = unpack_rows(layout, pack_rows(layout, frame))
    assert found.numbers[:, 0].tolist() == frame["day"].cast(pl.Float64).to_list() == [19_756.0]
