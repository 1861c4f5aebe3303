"""Schedules: the moments of cron, in UTC and in zones that change their clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))
EXPRESSIONS = st.sampled_from(
    ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "*/7 * * * *", "30 3 * * MON-FRI", "0 0 L * *",
     "CRON_TZ=America/New_York 30 2 * * *", "CRON_TZ=Europe/London 30 1 * * *", "CRON_TZ=Asia/Kolkata @daily"]
)  # fmt: skip


@given(expression=EXPRESSIONS, moment=MOMENTS)
def test_the_last_moment_and_the_next_have_none_between_them(expression, moment):
    schedule = Schedule.of(expression)
    last, following = schedule.until(moment), schedule.after(moment)
    assert last <= moment < following
    assert schedule.after(last) == following
    assert list(schedule.between(last, following)) == [following]


def test_a_day_has_its_one_moment_also_when_clocks_change():
    schedule = Schedule.of("CRON_TZ=America/New_York 30 2 * * *")
    for start in (datetime(2024, 3, 8, tzinfo=UTC), datetime(2024, 11, 1, tzinfo=UTC)):
        assert len(list(schedule.between(start, start + timedelta(days=5)))) == 5


@pytest.mark.parametrize("text", ["", "daily", "61 * * * *", "* * * *", "CRON_TZ=Nowhere 0 0 * * *", "0 0 31 2 *"])
def test_what_is_no_schedule_is_told_how_one_is_written(text):
    with pytest.raises(DefinitionError, match=r"(?s)is not a schedule.*@daily"):
        Schedule.of(text)
