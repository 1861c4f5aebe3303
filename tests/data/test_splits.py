"""Splits by time: how far back they reach, what they leave out, and what a definition of before still says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from carrara.core.errors import ConfigurationError, DataError
from carrara.data.splits import RollingSplit, TimeSplit

DAYS = pl.DataFrame({"at": [datetime(2024, 5, 1, tzinfo=UTC) + timedelta(days=day) for day in range(30)]})


def days(split, rows: pl.DataFrame = DAYS) -> dict[str, list[int]]:
    """The days of May of each part."""
    return {name: part["at"].dt.day().to_list() for name, part in split.split(rows, time="at", known_at=None).items()}


def test_a_rolling_window_moves_with_the_newest_row_and_reaches_back_so_far():
    split = RollingSplit(train="7d", validation="2d", test="3d")
    assert days(split) == {"train": [*range(19, 26)], "validation": [26, 27], "test": [28, 29, 30]}
    assert days(split, DAYS.head(20)) == {"train": [*range(9, 16)], "validation": [16, 17], "test": [18, 19, 20]}


def test_the_newest_rows_are_skipped_and_days_are_excluded_from_every_part():
    split = RollingSplit(
        validation="2d", test="3d", skip="5d", exclude=(("2024-05-03", "2024-05-20"), ("2024-05-24", "2024-05-25"))
    )
    assert days(split) == {"train": [1, 2, 20], "validation": [21, 22], "test": [23, 25]}


def test_a_fixed_range_has_both_ends():
    split = TimeSplit(
        "2024-05-10", "2024-05-12", train_from="2024-05-07", until="2024-05-14", exclude=(("2024-05-08", "2024-05-09"),)
    )
    assert days(split) == {"train": [7, 9], "validation": [10, 11], "test": [12, 13]}


def test_a_part_that_exclusion_empties_is_told():
    with pytest.raises(DataError, match="the validation part has no rows"):
        days(RollingSplit(validation="2d", test="3d", exclude=(("2024-05-26", "2024-05-28"),)))


def test_what_nobody_set_is_not_part_of_a_definition():
    assert TimeSplit("2024-05-10", "2024-05-12").spec() == {"validation_from": "2024-05-10", "test_from": "2024-05-12"}
    assert RollingSplit().spec() == {"validation": "7d", "test": "7d"}
    assert RollingSplit(train="7d", exclude=(("2024-05-01", "2024-05-02"),)).spec() == {
        "validation": "7d",
        "test": "7d",
        "train": "7d",
        "exclude": [["2024-05-01", "2024-05-02"]],
    }


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TimeSplit("2024-05-10", "2024-05-12", train_from="2024-05-10"), "the train part begins at"),
        (lambda: TimeSplit("2024-05-10", "2024-05-12", until="2024-05-12"), "the test part begins at"),
        (lambda: RollingSplit(train="0d"), "has no rows"),
        (lambda: RollingSplit(exclude=("2024-05-01", "2024-05-02")), "is no list of spans"),
        (lambda: RollingSplit(exclude=(("2024-05-02", "2024-05-01"),)), "a span to exclude begins at"),
    ],
)
def test_a_span_that_is_none_is_refused_when_it_is_declared(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
