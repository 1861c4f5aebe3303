"""Test rows that are training rows are found, and chance repetitions are not taken for them."""

from __future__ import annotations

import numpy as np
import polars as pl

from carrara.evaluation.overlap import overlap

RANDOM = np.random.default_rng(0)


def rows(count, values=None):
    numbers = RANDOM.random(count) if values is None else RANDOM.integers(0, values, count)
    return pl.DataFrame({"a": numbers, "b": ["x"] * count, "late": RANDOM.random(count) < 0.5})


def test_rows_that_were_trained_on_are_counted():
    train, fresh = rows(1_000), rows(90)
    test = pl.concat([fresh, train.head(10)])
    found = overlap(train, test, ["a", "b", "late"])
    assert found == {"rows": 10, "share": 0.1, "repeated": 0.0, "suspicious": True}


def test_few_different_features_are_not_suspicious():
    found = overlap(rows(1_000, values=5), rows(100, values=5), ["a", "b", "late"])
    assert (found["rows"], found["suspicious"]) == (100, False)


def test_another_label_is_another_row():
    train = rows(10)
    test = train.with_columns(~pl.col("late"))
    assert overlap(train, test, ["a", "b", "late"])["rows"] == 0


def test_what_waits_in_files_comes_to_the_same():
    train, test = rows(3_000, values=400), rows(500, values=800)
    whole = overlap(train, test, ["a", "b", "late"])
    assert 0 < whole["rows"] < 500
    assert overlap(train, test, ["a", "b", "late"], at_once=100) == whole
