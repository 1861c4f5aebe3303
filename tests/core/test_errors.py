"""Errors say the nearest right name, and list what there is when none is near."""

from __future__ import annotations

import inspect

import pytest

from carrara.core import errors
from carrara.core.errors import CarraraError, CheckFailed, NotFoundError, did_you_mean

NAMES = ["late_arrival", "fare", "late_departure"]


@pytest.mark.parametrize(
    ("written", "meant"), [("late_arival", "late_arrival"), ("late_departures", "late_departure"), ("fares", "fare")]
)
def test_the_nearest_name_is_meant(written, meant):
    assert did_you_mean(written, NAMES) == f"Did you mean '{meant}'?"


def test_nothing_is_guessed_when_no_name_is_near():
    assert did_you_mean("weather", NAMES) == ""
    assert did_you_mean("late_arrival", []) == ""


def test_without_a_near_name_the_known_ones_are_listed():
    assert NotFoundError("model", "weather", NAMES).hint == "Known: fare, late_arrival, late_departure."
    assert NotFoundError("model", "weather").hint == "Known: none yet."


def test_a_long_list_is_cut():
    hint = NotFoundError("model", "zzz", [f"model{n:02}" for n in range(20)]).hint
    assert hint.endswith("model11 and 8 more.")


def test_every_reason_of_a_failed_check_is_told():
    error = CheckFailed("no", ["first", "second"], hint="do this")
    assert str(error) == "no\n  first\n  second\n  do this"
    assert error.exit_code == 3


def test_every_error_is_drawn_in_the_tree():
    made = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, CarraraError)}
    drawn = {line.strip("│├└─ ").split()[0] for line in errors.__doc__.splitlines() if "Error" in line or "─" in line}
    assert made == {name for name in drawn if name.isidentifier()}
