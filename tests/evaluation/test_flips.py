"""Flips: how often an answer turns, between two models and when what should not decide is swapped."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import DataError, DefinitionError, NotFoundError
from carrara.evaluation.counterfactual import Swap
from carrara.evaluation.disagreement import flips_between
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.flip_gates import flips_at_most, flips_from_champion_at_most
from carrara.evaluation.metrics import METRICS_OF, MetricValue, measure
from carrara.evaluation.slices import measure_slices

BEFORE = np.array([0.1, 0.4, 0.6, 0.9, 0.5, 0.49])
AFTER = np.array([0.2, 0.7, 0.3, 0.8, 0.5, 0.51])
WEIGHTS = np.array([1.0, 2, 3, 1, 1, 2])


def test_rates_are_shares_of_all_rows_by_what_they_turned_from_and_to():
    found = measure(BEFORE, AFTER, METRICS_OF["flips"], kind="flips", weights=WEIGHTS)
    values = {name: one.value for name, one in found.items()}
    expected = {
        "flip_rate": 0.7,
        "positive_to_negative": 0.3,
        "negative_to_positive": 0.4,
        "positive_to_positive": 0.2,
        "negative_to_negative": 0.1,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert values["mean_shift"] == pytest.approx(np.average(AFTER - BEFORE, weights=WEIGHTS))
    assert found["flip_rate"].low < 0.7 < found["flip_rate"].high


def test_a_rate_is_asked_at_another_threshold_and_by_slice():
    rates = measure(BEFORE, AFTER, ["flip_rate@0.05", "flip_rate@0.65"], kind="flips", bootstrap=0)
    assert [one.value for one in rates.values()] == pytest.approx([0, 1 / 6])
    sliced = measure_slices(
        BEFORE, AFTER, {"side": np.array(list("llrrlr"))}, ["flip_rate"], kind="flips", min_rows=1, bootstrap=0
    )
    assert {one.value: one.metrics["flip_rate"].value for one in sliced} == pytest.approx({"l": 1 / 3, "r": 2 / 3})


def test_two_models_are_each_asked_at_their_own_threshold():
    found = flips_between(BEFORE, AFTER, thresholds=(0.5, 0.75))
    assert (found["positive_to_negative"].value, found["negative_to_positive"].value) == pytest.approx((2 / 6, 0))


def test_scores_that_are_no_probabilities_are_counted_in_the_error():
    for one, other in ((BEFORE, AFTER * 2), (BEFORE * 2, AFTER)):
        with pytest.raises(DataError, match="of 6 scores are outside 0"):
            measure(one, other, ["flip_rate"], kind="flips")


def test_a_swap_changes_its_values_alone_and_of_its_rows_alone():
    rows = pl.DataFrame({"a:sex": ["f", "m", "x", None], "a:old": [True, False, None, True], "a:n": [1.0, 2, 1, 2]})
    swap = Swap.of({"a:sex": ("f", "m"), "a:old": ("true", "false")}).typed(rows.schema, "here")
    assert swap.spec() == {"a:sex": ["f", "m"], "a:old": [True, False]}
    assert rows.select(swap.asked).to_series().to_list() == [True, True, False, True]
    swapped = swap.swapped(rows)
    assert swapped["a:sex"].to_list() == ["m", "f", "x", None]
    assert swapped["a:old"].to_list() == [False, True, None, False]
    assert swapped["a:n"].to_list() == rows["a:n"].to_list()
    assert Swap.of({"a:n": ("1", "2")}).typed(rows.schema, "here").swapped(rows)["a:n"].to_list() == [2, 1, 2, 1]


@pytest.mark.parametrize("swap", [{}, {"a:sex": ("f",)}, {"a:sex": ("f", "f")}, {"a:sex": "fm"}])
def test_a_swap_is_of_two_different_values(swap):
    with pytest.raises(DefinitionError):
        Swap.of(swap)


def test_a_swap_of_what_the_rows_do_not_have_is_told():
    schema = {"a:sex": pl.String(), "a:old": pl.Boolean(), "a:list": pl.List(pl.Float64())}
    with pytest.raises(NotFoundError, match="Did you mean 'a:sex'"):
        Swap.of({"a:sexx": ("f", "m")}).typed(schema, "the model")
    with pytest.raises(DataError, match="'a:old' is true or false, and 'maybe' is not"):
        Swap.of({"a:old": (True, "maybe")}).typed(schema, "the model")
    with pytest.raises(DataError, match="is an array"):
        Swap.of({"a:list": (1, 2)}).typed(schema, "the model")


def test_a_gate_lets_pass_what_chance_may_have_made_unless_it_is_to_be_proven():
    gate, strict = flips_at_most(0.05, {"a:sex": ("f", "m")}), flips_at_most(0.05, {"a:sex": ("f", "m")}, proven=True)
    rate = {"flip_rate": MetricValue(0.06, 0.04, 0.08, 500)}
    evidence = Evidence(Evaluation(500, {}), flips={gate.swap: rate})
    assert gate.judge(evidence).passed
    assert not strict.judge(evidence).passed
    assert "6.00% [4.00%, 8.00%] of the answers to 500 rows turn by a:sex f ↔ m" in strict.judge(evidence).message
    unasked = gate.judge(Evidence(Evaluation(500, {}), flips={gate.swap: {}}))
    assert not unasked.passed
    assert "no test row has one of the values" in unasked.message


def test_a_gate_on_the_champions_answers_passes_without_one_and_fails_where_it_was_not_asked():
    gate = flips_from_champion_at_most(0.1)
    evaluation, champion = Evaluation(500, {}), {"roc_auc": {"value": 0.7}}
    assert gate.judge(Evidence(evaluation)).passed
    assert not gate.judge(Evidence(evaluation, champion)).passed
    for value, passed in ((MetricValue(0.12, 0.09, 0.15, 500), True), (MetricValue(0.2, 0.15, 0.25, 500), False)):
        assert gate.judge(Evidence(evaluation, champion, paired_flips={"flip_rate": value})).passed is passed
    with pytest.raises(DefinitionError, match="must be a share"):
        flips_from_champion_at_most(3)
