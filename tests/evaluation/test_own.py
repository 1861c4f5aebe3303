"""Metrics of your own, and those of costs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

import carrara
from carrara.core.errors import DataError, DefinitionError
from carrara.evaluation.evaluate import evaluate
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.metrics import measure

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.random(400)
LABELS = RANDOM.random(400) < SCORES


@carrara.metric(greater_is_better=True)
def f2(labels, scores):
    """F beta with recall counting twice."""
    return fbeta_score(labels, scores >= 0.5, beta=2)


@carrara.metric(greater_is_better=True)
def weighted_f2(labels, scores, weights):
    return fbeta_score(labels, scores >= 0.5, beta=2, sample_weight=weights)


@carrara.metric(greater_is_better=False, per_row=True)
def cubed(labels, scores):
    return np.abs(labels - scores) ** 3


def test_a_function_is_a_metric_with_an_interval():
    found = measure(LABELS, SCORES, [f2, weighted_f2, "brier"])
    assert found["f2"].value == pytest.approx(fbeta_score(LABELS, SCORES >= 0.5, beta=2))
    assert found["f2"].low < found["f2"].value < found["f2"].high
    assert found["weighted_f2"].low == pytest.approx(found["f2"].low)


def test_a_value_per_row_is_averaged_part_by_part_as_in_one():
    whole = cubed.function(LABELS, SCORES)
    parts = [cubed.function(LABELS[n : n + 100], SCORES[n : n + 100]) for n in range(0, 400, 100)]
    assert whole == pytest.approx(np.mean(parts))


def test_a_metric_is_another_when_its_code_is():
    assert f2.spec()["function"] != weighted_f2.spec()["function"]
    assert carrara.cost(false_positive=1).spec() != carrara.cost(false_positive=2).spec()


def test_a_cost_is_what_the_mistakes_add_up_to():
    price = carrara.cost(false_positive=2, false_negative=7, true_positive=-1)
    positive = SCORES >= 0.5
    total = 2 * (positive & ~LABELS).sum() + 7 * (~positive & LABELS).sum() - (positive & LABELS).sum()
    assert measure(LABELS, SCORES, [price])["cost"].value == pytest.approx(total / 400)
    assert measure(LABELS, SCORES, [price], threshold=0.0)["cost"].value == pytest.approx(
        (2 * (~LABELS).sum() - LABELS.sum()) / 400
    )


def test_weights_are_refused_by_a_function_that_cannot_take_them():
    with pytest.raises(DataError, match="takes no weights"):
        measure(LABELS, SCORES, [f2], weights=np.full(400, 0.5))


def test_a_function_of_other_parameters_is_refused():
    with pytest.raises(DefinitionError, match="takes 1 parameters"):
        carrara.metric(greater_is_better=True)(lambda labels: 0.0)


def test_costs_must_cost_something():
    with pytest.raises(DefinitionError, match="not all 0"):
        carrara.cost()


def test_a_function_that_fails_is_named_with_what_it_said():
    @carrara.metric(greater_is_better=True)
    def broken(labels, scores):
        return labels["late"]

    with pytest.raises(DataError, match="the metric 'broken' failed: IndexError"):
        measure(LABELS, SCORES, [broken])

    @carrara.metric(greater_is_better=True)
    def wordy(labels, scores):
        return "good"

    with pytest.raises(DataError, match="gave 'good', which is no number"):
        measure(LABELS, SCORES, [wordy])


def test_a_gate_asks_for_a_metric_of_your_own():
    price = carrara.cost(false_positive=1, false_negative=1, name="dollars")
    evaluation = evaluate(LABELS, SCORES, metrics=["roc_auc", price])
    gate = carrara.at_most(price, 0.5)
    assert (gate.name, gate.spec()["metric"]) == ("dollars at most 0.5", "dollars")
    assert gate.judge(Evidence(evaluation)).passed
    assert not carrara.at_least(f2, 0.1).judge(Evidence(evaluation)).passed  # was not measured
