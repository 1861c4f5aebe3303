"""Durations and times: UTC, whole microseconds, and no zone guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from carrara.core.clock import duration, from_microseconds, microseconds, now, parse_time
from carrara.core.errors import CarraraError, ConfigurationError

NOON = datetime(2013, 10, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("6h", 21_600), ("7d", 604_800), ("2w", 1_209_600), (" 6 h ", 21_600)],
)
def test_each_unit_of_a_duration(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "6", "-1h", "1.5h", "6H", "1h30m", "6 hours", "1y"])
def test_what_is_not_a_duration_is_named_with_the_units(text):
    with pytest.raises(ConfigurationError, match=r"is not a duration\n.*s, m, h, d, w") as raised:
        duration(text)
    assert f"'{text}'" in raised.value.message


@pytest.mark.parametrize(
    "text",
    [
        "2013-10-01T12:00:00Z",
        "2013-10-01T08:00:00-04:00",
        "2013-10-01 17:30:00+05:30",
        "2013-10-01T12:00:00.000000+00:00",
    ],
)
def test_every_zone_becomes_utc(text):
    found = parse_time(text)
    assert found == NOON
    assert found.tzinfo is UTC


def test_a_date_is_its_midnight_in_utc():
    assert parse_time("2013-10-01") == NOON.replace(hour=0)


@pytest.mark.parametrize("text", ["2013-10-01T12:00:00", "2013-10-01 12:00", "2013-10-01T12"])
def test_a_time_without_zone_is_refused_and_shown_with_one(text):
    with pytest.raises(CarraraError, match="names no zone") as raised:
        parse_time(text)
    assert f"{text}Z" in raised.value.hint


@pytest.mark.parametrize("text", ["", "yesterday", "2013-13-01", "2013-02-29", "12:00", "2013-10-01T25:00:00Z"])
def test_what_is_not_a_time_is_named(text):
    with pytest.raises(CarraraError, match=f"'{text}' is not a time"):
        parse_time(text)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_microseconds_and_text_lose_nothing(time):
    assert from_microseconds(microseconds(time)) == time
    assert parse_time(time.isoformat()) == time


@given(st.timedeltas(min_value=timedelta(days=-100_000), max_value=timedelta(days=100_000)))
def test_a_duration_in_microseconds_is_exact(value):
    assert microseconds(value) == value // timedelta(microseconds=1)


def test_now_is_in_utc():
    before = datetime.now(UTC)
    found = now()
    assert found.tzinfo is UTC
    assert before <= found <= datetime.now(UTC)
