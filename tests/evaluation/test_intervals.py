"""Intervals: honest of few rows and of many, by one seed."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import NotFoundError
from carrara.evaluation.intervals import Resamples
from carrara.evaluation.jackknife import Jackknife, student_quantile
from carrara.evaluation.metrics import measure, measure_rows, metric
from carrara.evaluation.ranked import rank


def sample(rows, seed):
    random = np.random.default_rng(seed)
    scores = random.beta(2, 5, rows)
    return random.random(rows) < scores, scores


# The area of these scores and labels, in four million rows.
TRUE_AREA = 0.7205


@pytest.mark.parametrize("most", [1_000, 250], ids=["all rows", "a quarter of them"])
def test_an_area_is_covered_about_as_often_as_said(most):
    covered = 0
    for seed in range(150):
        rows = rank(*sample(1_000, seed))
        found = measure_rows(rows, [metric("roc_auc")], Resamples(100, seed, most))["roc_auc"]
        covered += found.low <= TRUE_AREA <= found.high
    assert 0.88 <= covered / 150 <= 0.99


def test_the_interval_of_a_sample_is_as_wide_as_that_of_all_rows():
    rows = rank(*sample(40_000, 1))
    widths = []
    for most in (40_000, 4_000):
        found = measure_rows(rows, [metric("roc_auc")], Resamples(400, 0, most))["roc_auc"]
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_weights_widen_an_interval_as_their_squares_do():
    labels = np.random.default_rng(0).random(4_000) < 0.3
    scores, weights = np.full(4_000, 0.3), np.where(np.arange(4_000) < 400, 10.0, 0.01)
    even = measure(labels, scores, ["positive_rate"])["positive_rate"]
    heavy = measure(labels, scores, ["positive_rate"], weights=weights)["positive_rate"]
    expected = np.sqrt((weights**2).sum()) / weights.sum() * np.sqrt(4_000)
    assert (heavy.high - heavy.low) / (even.high - even.low) == pytest.approx(expected, rel=0.25)


def test_the_jackknife_of_a_mean_is_that_of_the_textbook():
    values = np.random.default_rng(3).normal(5, 2, 150)
    found = measure(values, np.zeros(150), ["mean_label"], kind="regression", intervals="jackknife")["mean_label"]
    error = values.std(ddof=1) / np.sqrt(150)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(student_quantile(149) * error, rel=1e-9)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_students_quantiles_are_those_of_scipy():
    from scipy.stats import t

    for freedom in (1, 2, 3, 5, 20, 199):
        assert student_quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=2e-3)


@pytest.mark.parametrize("most", [1_000, 250], ids=["all rows", "a quarter of them"])
def test_the_jackknife_of_groups_covers_as_often_as_said(most):
    covered = 0
    for seed in range(150):
        rows = rank(*sample(1_000, seed))
        found = measure_rows(rows, [metric("roc_auc")], Jackknife(50, seed, most))["roc_auc"]
        covered += found.low <= TRUE_AREA <= found.high
    assert 0.88 <= covered / 150 <= 0.99


def test_the_jackknife_has_no_interval_where_there_is_none_to_have():
    assert np.isnan(measure([1], [0.4], ["roc_auc"], intervals="jackknife")["roc_auc"].low)
    assert np.isnan(measure([1, 0], [0.4, 0.3], ["brier"], intervals="jackknife", bootstrap=0)["brier"].low)
    with pytest.raises(NotFoundError, match="Did you mean 'jackknife'"):
        measure([1, 0], [0.4, 0.3], ["brier"], intervals="jacknife")
