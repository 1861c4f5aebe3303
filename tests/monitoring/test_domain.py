"""Multivariate drift: seen where features no longer move together, and not where a season is only a season."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from carrara.monitoring.domain import domain_shift, usual_auc

RANDOM = np.random.default_rng(0)
FEATURES = ("a", "b", "city")


def pairs(rows: int, together: bool) -> pl.DataFrame:
    """Two features and a text, each by itself the same whether they move together or not."""
    a = RANDOM.normal(size=rows)
    b = a if together else RANDOM.permutation(a)
    return pl.DataFrame({"a": a, "b": b + RANDOM.normal(0, 0.3, rows), "city": RANDOM.choice(["Ulm", "Bonn"], rows)})


def test_rows_of_one_distribution_are_not_told_apart():
    shift = domain_shift(pairs(2_000, True), pairs(2_000, True), FEATURES)
    assert not shift.is_seen
    assert abs(shift.auc - 0.5) < shift.by_chance - 0.5


def test_features_that_no_longer_move_together_are_seen_and_named():
    shift = domain_shift(pairs(2_000, True), pairs(2_000, False), FEATURES)
    assert shift.is_seen
    assert shift.auc > 0.75
    assert {name for name, _ in shift.features[:2]} == {"a", "b"}


def test_too_few_rows_and_constant_or_missing_columns_are_not_known_or_not_told():
    assert domain_shift(pairs(20, True), pairs(2_000, True), FEATURES) is None
    gone = pl.DataFrame(
        {"a": [None] * 100, "b": [1.0] * 100, "city": ["Ulm"] * 100}, schema_overrides={"a": pl.Float64}
    )
    shift = domain_shift(gone, gone, FEATURES)
    assert not shift.is_seen


def weather(start: datetime, days: int) -> pl.DataFrame:
    """Rows of each hour with a temperature that one day has from the day before, and with what no day has."""
    random = np.random.default_rng(1)
    temperatures = [0.0]
    for _ in range(days - 1):
        temperatures.append(0.8 * temperatures[-1] + random.normal(0, 0.6))
    rows = days * 96
    return pl.DataFrame(
        {
            "at": [start + timedelta(minutes=15 * n) for n in range(rows)],
            "a": np.repeat(temperatures, 96) + random.normal(0, 1, rows),
            "b": random.normal(size=rows),
            "city": random.choice(["Ulm", "Bonn"], rows),
        }
    )


def test_a_season_is_as_usual_and_what_never_was_is_not():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    year = weather(start, 120)
    usual = usual_auc(year.lazy(), "at", timedelta(days=3), FEATURES)
    days = [start + timedelta(days=day) for day in range(5, 115, 7)]
    ordinary = [year.filter(pl.col("at").is_between(day, day + timedelta(days=3))) for day in days]
    shifts = [replace(domain_shift(year, one, FEATURES), usual=usual) for one in ordinary]
    assert sum(shift.auc > shift.by_chance for shift in shifts) > len(shifts) / 2
    assert sum(shift.is_seen for shift in shifts) <= len(shifts) / 8
    changed = domain_shift(year, ordinary[0].with_columns(pl.col("b") + 2.0), FEATURES)
    assert replace(changed, usual=usual).is_seen


def test_the_usual_is_not_known_of_a_training_that_is_hardly_longer_than_the_window():
    rows = weather(datetime(2024, 1, 1, tzinfo=UTC), 5)
    assert usual_auc(rows.lazy(), "at", timedelta(days=2), FEATURES) is None
    assert usual_auc(rows.clear().lazy(), "at", timedelta(days=2), FEATURES) is None
