"""Rows in the lake answer as the same rows in memory do, whatever part of the table they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import ColumnMissing
from carrara.data import rows as module
from carrara.data.rows import batches, split_table
from carrara.data.splits import HashSplit, StratifiedSplit, TimeSplit

RANDOM = np.random.default_rng(0)
ROWS = 5_000
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(n)) for n in RANDOM.permutation(ROWS)],
        "known": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(n)) for n in RANDOM.permutation(ROWS)],
        "user": RANDOM.integers(0, 500, ROWS),
        "group": RANDOM.choice(["a", "b"], ROWS),
        "x": RANDOM.normal(size=ROWS),
    }
)
SPLITS = [
    TimeSplit(validation_from="2024-01-03", test_from="2024-01-04"),
    HashSplit(key=("user",)),
    StratifiedSplit(by="group", key=("user", "at")),
]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The table in files of odd sizes, read a few rows at a time."""
    monkeypatch.setattr(module, "BATCH_ROWS", 300)
    for number, part in enumerate(TABLE.iter_slices(777)):
        part.write_parquet(tmp_path / f"{number}.parquet")
    return pl.scan_parquet([tmp_path / f"{number}.parquet" for number in range(7)])


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: type(split).__name__)
def test_parts_in_the_lake_are_the_parts_in_memory(stored, split):
    expected = split.split(TABLE, time="at", known_at="known")
    for name, rows in split_table(stored, split, time="at", known_at="known").items():
        same = expected[name]
        assert rows.height == same.height
        assert rows.schema == same.schema
        assert rows.select(["x", "at"]).equals(same.select(["x", "at"]))
        assert rows["user"].equals(same["user"])
        assert pl.concat(batches(rows, ["x", "group"])).equals(same.select("x", "group"))
        assert rows.gather_every(7)["x"].equals(same.gather_every(7)["x"])
        few = (pl.col("group") == "a", pl.col("x") > 0)
        assert rows.filter(*few).gather_every(3)["x"].equals(same.filter(*few).gather_every(3)["x"])


def test_batches_are_bounded(stored):
    rows = split_table(stored, SPLITS[0], time="at", known_at=None)["train"]
    assert max(batch.height for batch in batches(rows, ["x"])) <= 300
    assert max(batch.height for batch in batches(TABLE, ["x"])) <= 300


def test_an_unknown_column_is_named(stored):
    rows = split_table(stored, SPLITS[0], time="at", known_at=None)["train"]
    with pytest.raises(ColumnMissing, match="grup"):
        rows["grup"]
