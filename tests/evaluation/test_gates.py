"""Gates: each fails an evaluation that was crafted to violate it."""

from __future__ import annotations

import math

import pytest

from carrara.core.errors import DefinitionError, NotFoundError
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gap_gates import gap_at_most, gap_not_wider_than_champion
from carrara.evaluation.gates import (
    at_least,
    at_most,
    better_than_baseline,
    judge_gates,
    no_slice_above,
    no_slice_below,
    not_worse_than_champion,
)
from carrara.evaluation.metrics import MetricValue
from carrara.evaluation.paired import PairedDifference
from carrara.evaluation.paired_slices import no_slice_worse_than_champion
from carrara.evaluation.slices import SliceResult


def values(**metrics):
    return {name: MetricValue(value, math.nan, math.nan, 1_000) for name, value in metrics.items()}


EVALUATION = Evaluation(
    rows=1_000,
    metrics=values(roc_auc=0.74, log_loss=0.41, f1=math.nan),
    baseline=values(roc_auc=0.70, log_loss=0.45),
    slices=(
        SliceResult("carrier", "AA", 700, values(roc_auc=0.76)),
        SliceResult("carrier", "UA", 250, values(roc_auc=0.61)),
        SliceResult("carrier", "DL", 50, values(roc_auc=0.31)),
    ),
)
CHAMPION = {"roc_auc": {"value": 0.75}, "log_loss": {"value": 0.40}}


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (at_least("roc_auc", 0.74), True),
        (at_least("roc_auc", 0.75), False),
        (at_most("log_loss", 0.41), True),
        (at_most("log_loss", 0.40), False),
        (better_than_baseline("roc_auc"), True),
        (better_than_baseline("roc_auc", by=0.04), True),
        (better_than_baseline("roc_auc", by=0.05), False),
        (better_than_baseline("log_loss", by=0.04), True),
        (better_than_baseline("log_loss", by=0.05), False),
        (no_slice_below("roc_auc", 0.6, min_rows=200), True),
        (no_slice_below("roc_auc", 0.65, min_rows=200), False),
        (no_slice_below("roc_auc", 0.6, min_rows=50), False),
        (not_worse_than_champion("roc_auc", by=0.01), True),
        (not_worse_than_champion("roc_auc"), False),
        (not_worse_than_champion("log_loss", by=0.01), True),
        (not_worse_than_champion("log_loss"), False),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_gate_passes_on_its_bound_and_fails_beyond(gate, passed):
    result = gate.judge(Evidence(EVALUATION, CHAMPION))
    assert result.passed is passed
    assert result.gate == gate.name
    assert result.message


def test_a_model_equal_to_its_baseline_is_not_better():
    same = Evaluation(rows=10, metrics=values(roc_auc=0.7), baseline=values(roc_auc=0.7))
    assert not better_than_baseline("roc_auc").judge(Evidence(same)).passed


def test_the_weakest_slice_is_named():
    result = no_slice_below("roc_auc", 0.65).judge(Evidence(EVALUATION))
    assert (result.found, result.required) == (0.61, 0.65)
    assert "carrier = UA (250 rows)" in result.message


def test_without_a_champion_a_gate_passes_and_says_so():
    result = not_worse_than_champion("roc_auc").judge(Evidence(EVALUATION))
    assert result.passed
    assert "no champion yet" in result.message


@pytest.mark.parametrize(
    "gate",
    [
        at_least("f1", 0.0),
        at_least("brier", 0.0),
        at_most("brier", 1.0),
        better_than_baseline("brier"),
        no_slice_below("accuracy", 0.0),
        not_worse_than_champion("brier"),
    ],
    ids=lambda gate: gate.name,
)
def test_a_gate_that_cannot_see_its_metric_fails(gate):
    result = gate.judge(Evidence(EVALUATION, CHAMPION))
    assert not result.passed
    assert result.found is None


def test_a_gate_on_a_metric_that_the_champion_never_had_fails():
    result = not_worse_than_champion("roc_auc").judge(Evidence(EVALUATION, {}))
    assert not result.passed
    assert "the champion's record has no roc_auc" in result.message


def test_the_verdict_is_plain_data_and_all_must_pass():
    verdict = judge_gates([at_least("roc_auc", 0.7), at_most("log_loss", 0.1)], Evidence(EVALUATION))
    assert verdict["passed"] is False
    assert [result["passed"] for result in verdict["results"]] == [True, False]
    assert verdict["results"][0] == {
        "gate": "roc_auc at least 0.7",
        "passed": True,
        "found": 0.74,
        "required": 0.7,
        "message": "0.74 is at least 0.7",
    }


def test_a_gate_says_what_it_is_as_plain_data():
    assert no_slice_below("roc_auc", 0.6, min_rows=500).spec() == {
        "gate": "no_slice_below",
        "metric": "roc_auc",
        "value": 0.6,
        "min_rows": 500,
    }
    assert at_least("roc_auc", 0.7) == at_least("roc_auc", 0.7)


@pytest.mark.parametrize("make", [at_least, at_most, better_than_baseline, no_slice_below, not_worse_than_champion])
def test_a_gate_on_an_unknown_metric_cannot_be_made(make):
    with pytest.raises(NotFoundError, match="Did you mean 'roc_auc'"):
        make("roc_acu", 0.5)


def test_a_gate_that_would_ask_for_a_worse_model_cannot_be_made():
    with pytest.raises(DefinitionError, match="would ask for a worse model"):
        no_slice_below("log_loss", 0.3)
    with pytest.raises(DefinitionError, match="has no direction"):
        better_than_baseline("mean_score")
    with pytest.raises(DefinitionError, match="must not be negative"):
        not_worse_than_champion("roc_auc", by=-0.1)


def pair(metric: str, one: float, other: float, reach: float = 0.01) -> PairedDifference:
    return PairedDifference(metric, one, other, other - one, other - one - reach, other - one + reach, 1_000)


def sure(value: float) -> MetricValue:
    return MetricValue(value, value - 0.01, value + 0.01, 1_000)


JUDGED = Evidence(
    Evaluation(
        rows=2_000,
        metrics={"roc_auc": sure(0.80), "log_loss": sure(0.40)},
        slices=(
            SliceResult("city", "north", 1_000, {"roc_auc": sure(0.85), "log_loss": sure(0.35)}),
            SliceResult("city", "south", 1_000, {"roc_auc": sure(0.70), "log_loss": sure(0.50)}),
        ),
    ),
    champion={"roc_auc": {"value": 0.82}, "log_loss": {"value": 0.38}},
    paired={"roc_auc": pair("roc_auc", 0.85, 0.80), "log_loss": pair("log_loss", 0.35, 0.40)},
    paired_slices={
        "city = north": {"roc_auc": pair("roc_auc", 0.84, 0.85), "log_loss": pair("log_loss", 0.36, 0.35)},
        "city = south": {"roc_auc": pair("roc_auc", 0.80, 0.70), "log_loss": pair("log_loss", 0.40, 0.50)},
    },
)
"""Less good than the champion, because of the south, by figures that are sure to 0.01."""


@pytest.mark.parametrize(
    ("kept", "broken"),
    [
        (at_least("roc_auc", 0.79), at_least("roc_auc", 0.81)),
        (at_most("log_loss", 0.41), at_most("log_loss", 0.39)),
        (no_slice_below("roc_auc", 0.69), no_slice_below("roc_auc", 0.71)),
        (no_slice_above("log_loss", 0.51), no_slice_above("log_loss", 0.49)),
        (gap_at_most("roc_auc", 0.14, "city"), gap_at_most("roc_auc", 0.12, "city")),
        (gap_at_most("log_loss", 0.14, "city"), gap_at_most("log_loss", 0.12, "city")),
        (not_worse_than_champion("roc_auc", by=0.05), not_worse_than_champion("roc_auc", by=0.03)),
        (not_worse_than_champion("log_loss", by=0.05), not_worse_than_champion("log_loss", by=0.03)),
        (no_slice_worse_than_champion("roc_auc", by=0.1), no_slice_worse_than_champion("roc_auc", by=0.05)),
        (no_slice_worse_than_champion("log_loss", by=0.1), no_slice_worse_than_champion("log_loss", by=0.05)),
        (gap_not_wider_than_champion("roc_auc", "city", by=0.11), gap_not_wider_than_champion("roc_auc", "city")),
        (gap_not_wider_than_champion("log_loss", "city", by=0.11), gap_not_wider_than_champion("log_loss", "city")),
    ],
    ids=[
        f"{of}, {where}, {direction}"
        for of in ("value", "change")
        for where in ("overall", "per slice", "across slices")
        for direction in ("more is better", "less is better")
    ],
)
def test_a_bound_on_a_value_or_a_change_overall_per_slice_or_across_slices_in_either_direction(kept, broken):
    assert kept.judge(JUDGED).passed, kept.judge(JUDGED).message
    assert not broken.judge(JUDGED).passed, broken.judge(JUDGED).message
    if "champion" in broken.name:
        assert broken.judge(Evidence(JUDGED.evaluation)).passed  # no blessed model yet


def test_a_gap_that_chance_may_have_made_is_told_from_one_that_is_proven_small():
    assert gap_at_most("roc_auc", 0.14, "city").judge(JUDGED).passed
    assert not gap_at_most("roc_auc", 0.16, "city", proven=True).judge(JUDGED).passed
    assert gap_at_most("roc_auc", 0.17, "city", proven=True).judge(JUDGED).passed


def test_a_small_group_of_chance_does_not_hide_a_gap_between_large_ones():
    chance = SliceResult("city", "tiny", 200, {"roc_auc": MetricValue(0.5, 0.1, 0.9, 200)})
    evaluation = Evaluation(rows=2_200, metrics={}, slices=(*JUDGED.evaluation.slices, chance))
    found = gap_at_most("roc_auc", 0.1, "city").judge(Evidence(evaluation))
    assert not found.passed
    assert "north" in found.message
    assert "south" in found.message


@pytest.mark.parametrize("gate", [gap_at_most("roc_auc", 0.1, "town"), gap_not_wider_than_champion("mcc", "city")])
def test_a_gap_of_what_was_not_looked_at_fails(gate):
    found = gate.judge(JUDGED)
    assert not found.passed
    assert "is it in the model's slices?" in found.message
    with pytest.raises(DefinitionError, match="cannot be less than 0"):
        gap_at_most("roc_auc", -0.1, "city")
