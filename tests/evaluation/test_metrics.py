"""Metrics and their intervals, with scikit-learn as the judge."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as judge

from carrara.core.errors import DataError, NotFoundError
from carrara.evaluation.metrics import DEFAULT_METRICS, METRICS, MetricValue, measure

JUDGES = {
    "roc_auc": judge.roc_auc_score,
    "pr_auc": judge.average_precision_score,
    "log_loss": judge.log_loss,
    "brier": judge.brier_score_loss,
    "accuracy": lambda y, s: judge.accuracy_score(y, s >= 0.5),
    "precision": lambda y, s: judge.precision_score(y, s >= 0.5),
    "recall": lambda y, s: judge.recall_score(y, s >= 0.5),
    "f1": lambda y, s: judge.f1_score(y, s >= 0.5),
    "positive_rate": lambda y, s: y.mean(),
    "mean_score": lambda y, s: s.mean(),
}


def sample(rows, seed=0, digits=16):
    random = np.random.default_rng(seed)
    scores = random.random(rows).round(digits)
    return (random.random(rows) < scores).astype(int), scores


@pytest.mark.parametrize("digits", [16, 1], ids=["distinct scores", "many ties"])
@pytest.mark.parametrize("name", JUDGES)
def test_a_metric_equals_scikit_learn(name, digits):
    labels, scores = sample(2_000, digits=digits)
    assert METRICS[name].function(labels, scores) == pytest.approx(JUDGES[name](labels, scores), rel=1e-12)


def test_certain_and_wrong_scores_have_the_log_loss_of_scikit_learn():
    labels, scores = np.array([1, 0, 1]), np.array([0.0, 1.0, 1.0])
    assert METRICS["log_loss"].function(labels, scores) == pytest.approx(judge.log_loss(labels, scores))


def test_the_calibration_error_equals_a_loop_over_bins():
    labels, scores = sample(500, digits=2)
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs(labels[bins == b].mean() - scores[bins == b].mean()) * (bins == b).sum() for b in set(bins)]
    assert METRICS["calibration_error"].function(labels, scores) == pytest.approx(sum(gaps) / 500)


binary_rows = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=40)


@given(binary_rows)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows):
    labels, scores = np.array([label for label, _ in rows]), np.array([score / 20 for _, score in rows])
    differences = scores[labels][:, None] - scores[~labels][None, :]
    found = METRICS["roc_auc"].function(labels, scores)
    if differences.size == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx((np.sign(differences) + 1).mean() / 2)


@given(binary_rows)
@settings(max_examples=50)
def test_the_order_of_the_rows_changes_no_metric(rows):
    labels, scores = np.array([label for label, _ in rows]), np.array([score / 20 for _, score in rows])
    for metric in METRICS.values():
        assert metric.function(labels, scores) == pytest.approx(
            metric.function(labels[::-1], scores[::-1]), nan_ok=True
        )


@given(binary_rows)
@settings(max_examples=50)
def test_a_row_of_weight_two_counts_as_two_rows(rows):
    from carrara.evaluation.ranked import rank

    labels, scores = np.array([label for label, _ in rows]), np.array([score / 20 for _, score in rows])
    weights = np.arange(len(rows)) % 3.0
    weights[0] = 1.0
    ranked = rank(labels, scores)
    repeated = rank(*(np.repeat(column, weights.astype(int)) for column in (ranked.labels, ranked.scores)))
    for metric in METRICS.values():
        expected = metric.kernel(repeated, np.ones(len(repeated)))
        assert metric.kernel(ranked, weights) == pytest.approx(expected, nan_ok=True)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        labels = np.random.default_rng(seed).random(400) < 0.3
        found = measure(labels, np.full(400, 0.3), ["positive_rate"], seed=seed)["positive_rate"]
        covered += found.low <= 0.3 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_every_interval_holds_its_value():
    labels, scores = sample(300)
    for found in measure(labels, scores).values():
        assert found.low <= found.value <= found.high


def test_one_seed_gives_one_interval():
    labels, scores = sample(300)
    assert measure(labels, scores, seed=4) == measure(labels, scores, seed=4)
    assert measure(labels, scores, seed=4) != measure(labels, scores, seed=5)


def test_labels_of_one_class_leave_a_metric_undefined_and_json_has_none():
    found = measure(np.ones(50), np.linspace(0, 1, 50))
    assert found["roc_auc"].as_dict() == {"value": None, "low": None, "high": None, "rows": 50}
    assert found["recall"].value == pytest.approx(0.5)
    json.dumps({name: value.as_dict() for name, value in found.items()}, allow_nan=False)


def test_a_value_comes_back_from_its_dictionary():
    value = MetricValue(0.5, 0.25, math.nan, 7)
    back = MetricValue.from_dict(value.as_dict())
    assert (back.value, back.low, back.rows) == (0.5, 0.25, 7)
    assert math.isnan(back.high)


def test_no_resamples_give_no_interval():
    labels, scores = sample(100)
    found = measure(labels, scores, ["roc_auc"], bootstrap=0)["roc_auc"]
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 1], [0.1, np.nan, np.nan], "2 of 3 scores are NaN"),
        ([0, 1, 1], [0.1, 1.5, -2], r"2 of 3 scores are outside 0..1 \(from -2 to 1.5\)"),
        ([0, 1, 1], [0.1, 0.2], "3 labels and 2 scores"),
        ([0, 2, np.nan], [0.1, 0.2, 0.3], "2 of 3 labels are neither 0 nor 1"),
        ([], [], "no rows"),
        ([[0], [1]], [0.1, 0.2], "one dimension"),
        (["late", "not"], [0.1, 0.2], "labels are not numbers"),
    ],
)
def test_rows_that_cannot_be_measured_are_counted_in_the_error(labels, scores, message):
    with pytest.raises(DataError, match=message):
        measure(labels, scores)


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(NotFoundError, match="Did you mean 'roc_auc'"):
        measure([0, 1], [0.1, 0.9], ["roc_acu"])


def test_every_metric_is_described():
    assert list(DEFAULT_METRICS) == list(METRICS)
    assert all(metric.description for metric in METRICS.values())
