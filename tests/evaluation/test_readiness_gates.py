"""Gates of what a test part does not show: each passes on its bound and fails beyond, and none passes in the dark."""

from __future__ import annotations

import math

import pytest

from carrara.core.errors import CarraraError, DefinitionError
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence, FeatureSeen
from carrara.evaluation.metrics import MetricValue
from carrara.evaluation.readiness_gates import backtested, features_validated, fully_reported, nulls_handled
from carrara.evaluation.slices import SliceResult
from carrara.evaluation.trial import Trial


def values(**metrics):
    return {name: MetricValue(value, math.nan, math.nan, 100) for name, value in metrics.items()}


NOTHING = Evaluation(rows=0, metrics={})
COMPLETE = Evaluation(
    rows=100,
    metrics=values(roc_auc=0.7),
    baseline=values(roc_auc=0.5),
    slices=(SliceResult("city", "north", 50, values(roc_auc=0.7)),),
    charts={"roc": {}},
)


def test_a_feature_may_be_missing_in_so_many_rows_of_any_part_and_is_not_always_the_same():
    seen = [FeatureSeen("v:a", {"train": 0.1, "test": 0.3}, constant=False), FeatureSeen("v:b", {"train": 0.0}, False)]
    evidence = Evidence(NOTHING, features=seen)
    assert features_validated(0.3).judge(evidence).passed
    found = features_validated(0.29).judge(evidence)
    assert (found.passed, found.found) == (False, 0.3)
    assert "v:a is missing in 30% of the test rows" in found.message
    same = Evidence(NOTHING, features=[*seen, FeatureSeen("v:c", {"train": 0.0}, constant=True)])
    assert "v:c is the same in every row" in features_validated().judge(same).message


def test_answers_without_a_feature_are_numbers_and_the_same():
    good = Trial("", rows=10, null_rows=4, nulls="")
    assert nulls_handled().judge(Evidence(NOTHING, trial=good)).passed
    bad = Trial("", rows=10, null_rows=4, nulls="its output 'p' is nan for a row without 'v:a'")
    found = nulls_handled().judge(Evidence(NOTHING, trial=bad))
    assert (found.passed, found.message) == (False, bad.nulls)


def test_a_report_has_no_holes():
    assert fully_reported().judge(Evidence(COMPLETE)).passed
    found = fully_reported().judge(Evidence(Evaluation(rows=9, metrics=values(roc_auc=math.nan))))
    assert (found.passed, found.found) == (False, 4.0)
    assert "a value of roc_auc; slices (slices=…); a baseline (baseline=…); charts" in found.message


@pytest.mark.parametrize(
    ("gate", "passed"), [(backtested("roc_auc", 0.6, 2), True), (backtested("roc_auc", 0.61, 2), False)]
)
def test_a_backtest_holds_at_every_moment(gate, passed):
    evidence = Evidence(NOTHING, backtests={(2, "7d"): [values(roc_auc=0.8), values(roc_auc=0.6)]})
    found = gate.judge(evidence)
    assert (found.passed, found.found) == (passed, 0.6)
    assert "0.8, 0.6" in found.message


def test_of_a_loss_less_is_better_in_a_backtest_too():
    evidence = Evidence(NOTHING, backtests={(2, "7d"): [values(log_loss=0.4), values(log_loss=0.6)]})
    assert backtested("log_loss", 0.6, 2).judge(evidence).passed
    assert not backtested("log_loss", 0.5, 2).judge(evidence).passed


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(NOTHING),
        Evidence(NOTHING, trial=Trial("it burns"), backtests={(3, "7d"): "the rows go back to 2024"}),
        Evidence(NOTHING, trial=Trial("", rows=3), backtests={(3, "7d"): [values(roc_auc=0.7)] * 2}),
        Evidence(NOTHING, backtests={(3, "7d"): [values(roc_auc=math.nan)] * 3, (2, "7d"): [values(roc_auc=0.9)] * 2}),
    ],
)
def test_a_gate_never_passes_in_the_dark(evidence):
    for gate in (features_validated(), nulls_handled(), fully_reported(), backtested("roc_auc", 0.1)):
        found = gate.judge(evidence)
        assert not found.passed, gate.name
        assert found.message


@pytest.mark.parametrize(
    "make",
    [
        lambda: features_validated(1.0),
        lambda: backtested("mean_score", 0.5),
        lambda: backtested("roc_auc", 0.5, origins=0),
        lambda: backtested("roc_auc", 0.5, every="soon"),
        lambda: backtested("roc_acu", 0.5),
    ],
)
def test_a_gate_that_cannot_be_meant_cannot_be_made(make):
    with pytest.raises(CarraraError) as raised:
        make()
    assert isinstance(raised.value, DefinitionError | CarraraError)
