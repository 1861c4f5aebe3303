"""The baseline of rates per combination."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import ColumnMissing, DataError
from carrara.evaluation.baseline import SMOOTHING, RateBaseline

CARRIER = np.array(["AA", "AA", "UA", None], dtype=object)
HOUR = np.array([6, 6, 7, 7], dtype=np.int32)
LABELS = np.array([1, 1, 0, 0])


def test_a_combination_gets_its_smoothed_rate_and_an_unseen_one_the_global_rate():
    baseline = RateBaseline.fit({"carrier": CARRIER, "hour": HOUR}, LABELS)
    scores = baseline.score({"carrier": np.array(["AA", "UA", "AA"]), "hour": np.array([6, 7, 7])})
    expected = [(2 + SMOOTHING * 0.5) / (2 + SMOOTHING), SMOOTHING * 0.5 / (1 + SMOOTHING), 0.5]
    assert scores.tolist() == pytest.approx(expected)


def test_a_missing_value_is_a_value_of_its_own():
    baseline = RateBaseline.fit({"carrier": CARRIER}, LABELS)
    assert baseline.score({"carrier": np.array([None], dtype=object)})[0] < 0.5


def test_scores_keep_the_order_of_the_rows():
    random = np.random.default_rng(0)
    keys, labels = random.integers(0, 50, 5_000), random.random(5_000) < 0.3
    scores = RateBaseline.fit({"key": keys}, labels).score({"key": keys})
    for key in (0, 17, 49):
        mine = keys == key
        expected = (labels[mine].sum() + SMOOTHING * labels.mean()) / (mine.sum() + SMOOTHING)
        assert scores[mine] == pytest.approx(expected)


def test_an_integer_of_another_width_finds_its_rate():
    baseline = RateBaseline.fit({"hour": HOUR}, LABELS)
    assert baseline.score({"hour": np.array([6], dtype=np.int64)})[0] > 0.5


def test_without_columns_every_row_gets_the_global_rate():
    baseline = RateBaseline.fit({}, LABELS)
    assert baseline.score({"anything": np.arange(3)}).tolist() == [0.5, 0.5, 0.5]


def test_what_does_not_fit_is_refused():
    baseline = RateBaseline.fit({"hour": HOUR}, LABELS)
    with pytest.raises(ColumnMissing, match="has no column 'hour'"):
        baseline.score({"hours": HOUR})
    with pytest.raises(DataError, match="has 4 rows, and 2 are expected"):
        RateBaseline.fit({"hour": HOUR}, [0, 1])
    with pytest.raises(DataError, match="2 of 4 labels are missing or infinite"):
        RateBaseline.fit({"hour": HOUR}, [0, 1, np.nan, np.inf])
