"""Sliding windows against their definition, event by event."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, missing, open_room, table, window_value
from hypothesis import HealthCheck, given, settings, strategies as st

from carrara.core.errors import ConfigurationError, DefinitionError
from carrara.features.aggregates import (
    AggregateView,
    count,
    distinct,
    first,
    last,
    maximum,
    mean,
    minimum,
    rate,
    std,
    total,
)
from carrara.features.windows import Events, window_values

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
events = carrara.Dataset("events", source="events.parquet")
v = carrara.AggregateView("v", entity="thing", source="events", event_time="event", aggregations=(
    carrara.count(windows=("1m", "5m", "1h")),
    carrara.total("x", windows=("1m", "5m", "1h")),
    carrara.mean("x", windows=("2m", "5m")),
    carrara.rate("flag", windows=("3m", "1h")),
    carrara.last("x", windows=("1m", "10m")),
    carrara.last("flag", windows=("10m",)),
    carrara.first("x", windows=("1m", "10m")),
    carrara.minimum("x", windows=("2m", "1h")),
    carrara.maximum("x", windows=("2m", "1h")),
    carrara.std("x", windows=("5m", "1h")),
    carrara.distinct("small", windows=("3m", "1h")),
    carrara.distinct("text", windows=("3m", "1h")),
    carrara.top_k("small", 2, windows=("5m", "1h")),
    carrara.lags("x", 3, windows=("5m", "1h")),
))
late = carrara.AggregateView("late", entity="thing", source="events", event_time="event", created_time="created",
    aggregations=(
        carrara.count(windows=("1m", "1h")), carrara.total("x", windows=("5m",)),
        carrara.last("small", windows=("1h",)),
        carrara.distinct("small", windows=("5m",)), carrara.top_k("small", 2, windows=("1h",)),
        carrara.std("small", windows=("1h",)), carrara.minimum("x", windows=("5m",)),
        carrara.lags("small", 2, windows=("1h",)),
))
"""
SCHEMA = {"name": pl.String(), "number": pl.Int64(), "event": UTC_TIME, "x": pl.Float64(), "flag": pl.Boolean()}
SCHEMA |= {"created": UTC_TIME, "small": pl.Float64(), "text": pl.String()}
ODD = [math.nan, math.inf, -math.inf, -0.0, None]
NUMBERS = st.integers(-(10**9), 10**9).map(lambda n: n / 1024) | st.sampled_from(ODD)

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", None]),
            "number": st.sampled_from([1, -2, None]),
            "event": st.integers(0, 20).map(minute) | st.floats(0, 20).map(minute),
            "x": NUMBERS,
            "flag": st.none() | st.booleans(),
            "created": st.integers(0, 60).map(minute),
            "small": st.none() | st.sampled_from([1.0, 2.0, 3.0, math.nan, math.inf]),
            "text": st.none() | st.sampled_from(["", "a", "ä", "b" * 20]),
        }
    ),
    max_size=25,
)
ASKED = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "never seen", None]),
            "number": st.sampled_from([1, -2]),
            "at": st.integers(0, 90).map(minute),
        }
    ),
    min_size=1,
    max_size=15,
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return open_room(tmp_path_factory.mktemp("windows"), DEFINITIONS, events=table([], **SCHEMA))


def agrees(found: float | None, expected: float, rows: list[dict]) -> bool:
    """Equal up to the rounding of a sum of these rows."""
    if missing(found) or not math.isfinite(expected):
        return (missing(found) and math.isnan(expected)) or found == expected
    most = sum(abs(row["x"]) for row in rows if not missing(row["x"]) and math.isfinite(row["x"]))
    return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-12 * most)


@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=EVENTS, labels=ASKED)
def test_every_window_of_a_training_set_is_what_its_definition_says(room, rows, labels):
    room.put(events=table(rows, **SCHEMA))
    room.compute("v", "late")
    joined = room.offline(table(labels), "v", "late")
    for view in (room.view("v"), room.view("late")):
        for label, found in zip(labels, joined.iter_rows(named=True), strict=True):
            keys = {"name": label["name"], "number": label["number"]}
            for feature in view.feature_types:
                expected = window_value(view, feature, rows, keys, label["at"])
                assert agrees(found[f"{view.name}:{feature}"], expected, rows), (feature, label, found, expected)


MINUTE_US = 60_000_000
FUNCTIONS = (total, mean, rate, last, first, std, minimum, maximum, distinct)


def view_of(*aggregations) -> AggregateView:
    return AggregateView("v", entity="e", source="s", event_time="t", aggregations=aggregations)


def events_of(times: list[int], values: list[float], codes: list[int] | None = None) -> Events:
    """Events at whole minutes, all of entity 0 unless said."""
    moments = np.array(times, dtype=np.int64) * MINUTE_US
    return Events(
        np.array(codes or [0] * len(times), dtype=np.int64),
        moments,
        moments,
        {"x": np.array(values, dtype=np.float64)},
    )


def values_at(view: AggregateView, events: Events, minutes: list[float], code: int = 0) -> dict[str, list[float]]:
    times = (np.array(minutes) * MINUTE_US).astype(np.int64)
    return {k: v.tolist() for k, v in window_values(view, events, np.full(len(times), code), times).items()}


def test_a_window_holds_its_end_and_not_its_start():
    events = events_of([10], [1.0])
    just = 1 / MINUTE_US
    found = values_at(view_of(count(windows=("5m",))), events, [10 - just, 10, 15 - just, 15])
    assert found["count_5m"] == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("before", [math.inf, -math.inf, 1e20, 1e300, -1e300])
def test_a_value_before_a_window_never_reaches_into_it(before):
    view = view_of(total("x", windows=("5m",)), mean("x", windows=("5m",)))
    found = values_at(view, events_of([0, 10, 11], [before, 1.0, 2.5]), [11])
    assert found == {"x_sum_5m": [3.5], "x_mean_5m": [1.75]}


@pytest.mark.parametrize("other", [math.inf, 1e20, 1e300])
def test_a_value_of_another_entity_never_reaches_into_a_window(other):
    events = events_of([0, 1, 2, 2], [other, other, 0.1, 0.2], codes=[0, 0, 1, 2])
    assert values_at(view_of(total("x", windows=("1h",))), events, [2], code=1) == {"x_sum_1h": [0.1]}


def test_infinite_values_inside_a_window_count():
    view = view_of(total("x", windows=("5m",)))
    events = events_of([0, 1, 20, 40, 41], [math.inf, 1.0, -math.inf, math.inf, -math.inf])
    found = values_at(view, events, [1, 20, 41])["x_sum_5m"]
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=70),
    history=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=70),
)
def test_the_history_before_a_window_changes_no_bit_of_its_value(values, history):
    """P5: online knows the recent events only, a training set all of them."""
    view = view_of(
        *(f("x", windows=("1h",)) for f in FUNCTIONS),
        count(windows=("1h",)),
    )
    recent = list(range(1000, 1000 + len(values)))
    recent = [min(minute, 1059) for minute in recent]
    short = values_at(view, events_of(recent, values), [1059])
    whole = values_at(view, events_of([*range(len(history)), *recent], [*history, *values]), [1059])
    assert {k: np.array(v).tobytes() for k, v in short.items()} == {k: np.array(v).tobytes() for k, v in whole.items()}


def test_a_sum_over_many_events_loses_no_more_than_its_rounding():
    random = np.random.default_rng(3)
    values = random.uniform(-1, 1, 100_000) * 10.0 ** random.integers(-6, 7, 100_000)
    view = view_of(total("x", windows=("30000m",)), mean("x", windows=("30000m",)))
    found = values_at(view, events_of(list(range(100_000)), values.tolist()), [29_999, 64_321, 99_999])
    for place, end in enumerate([29_999, 64_321, 99_999]):
        inside = values[end - 29_999 : end + 1]
        assert abs(found["x_sum_30000m"][place] - math.fsum(inside)) <= 1e-14 * np.abs(inside).sum()
        assert found["x_mean_30000m"][place] == found["x_sum_30000m"][place] / 30_000


def test_an_entity_without_events_counts_zero_and_has_nothing_else():
    view = view_of(
        count(windows=("1h",)),
        *(f("x", windows=("1h",)) for f in FUNCTIONS),
    )
    for events in (events_of([], []), events_of([0], [1.0])):
        found = values_at(view, events, [5], code=-1)
        assert found.pop("count_1h") == found.pop("x_distinct_1h") == [0.0]
        assert all(math.isnan(v) for values in found.values() for v in values)


def test_an_event_without_a_value_counts_and_is_in_no_sum_mean_or_last():
    view = view_of(count(windows=("1h",)), *(f("x", windows=("1h",)) for f in (total, mean, last)))
    found = values_at(view, events_of([1, 2, 3], [4.0, 6.0, math.nan]), [3])
    assert found == {"count_1h": [3.0], "x_sum_1h": [10.0], "x_mean_1h": [5.0], "x_last_1h": [6.0]}


def test_a_newest_value_that_has_left_the_window_is_missing():
    found = values_at(view_of(last("x", windows=("5m",))), events_of([1, 4], [7.0, math.nan]), [5, 6])
    assert found["x_last_5m"][0] == 7.0
    assert math.isnan(found["x_last_5m"][1])


def test_an_aggregation_without_a_window_or_with_an_unreadable_one_is_refused():
    with pytest.raises(DefinitionError, match="mean needs a window"):
        mean("x", windows=())
    with pytest.raises(ConfigurationError, match="'6 hours' is not a duration"):
        count(windows=("6 hours",))
