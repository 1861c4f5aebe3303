"""Paired differences: the same rows for both, so that what is hard for both cancels out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t
from sklearn.metrics import log_loss, roc_auc_score

from carrara.core.errors import DataError, DefinitionError
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import not_worse_than_champion
from carrara.evaluation.metrics import MetricValue, measure
from carrara.evaluation.paired import paired_differences
from carrara.evaluation.paired_slices import no_slice_worse_than_champion, paired_slices

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.random(2_000)
LABELS = (RANDOM.random(2_000) < TRUTH).astype(int)
WEAK = np.clip(TRUTH + RANDOM.normal(0, 0.25, 2_000), 0.01, 0.99)
STRONG = np.clip(TRUTH + RANDOM.normal(0, 0.15, 2_000), 0.01, 0.99)


def test_the_values_are_those_of_scikit_learn():
    found = paired_differences(LABELS, WEAK, STRONG, ["roc_auc", "log_loss"], resamples=10)
    assert found["roc_auc"].one == pytest.approx(roc_auc_score(LABELS, WEAK))
    assert found["roc_auc"].other == pytest.approx(roc_auc_score(LABELS, STRONG))
    assert found["log_loss"].difference == pytest.approx(log_loss(LABELS, STRONG) - log_loss(LABELS, WEAK))


def test_an_interval_of_the_same_rows_is_narrower_than_two_of_their_own():
    found = paired_differences(LABELS, WEAK, STRONG, ["roc_auc"])["roc_auc"]
    alone = [measure(LABELS, scores, ["roc_auc"])["roc_auc"] for scores in (WEAK, STRONG)]
    assert found.low > 0
    assert found.differs
    assert found.high - found.low < 0.7 * sum(value.high - value.low for value in alone)


@pytest.mark.parametrize("method", ["bootstrap", "jackknife"])
def test_intervals_hold_the_difference_of_all_rows_as_often_as_they_say(method):
    """95 of 100, by samples of a population whose difference is known."""
    truth = paired_differences(LABELS, WEAK, STRONG, ["brier"], resamples=1)["brier"].difference
    held = 0
    for seed in range(40):
        rows = np.random.default_rng(seed).integers(0, 2_000, 400)
        drawn = (values[rows] for values in (LABELS, WEAK, STRONG))
        found = paired_differences(*drawn, ["brier"], seed=seed, resamples=60, intervals=method)["brier"]
        held += found.low <= truth <= found.high
    assert 34 <= held <= 40


def test_the_jackknife_of_a_mean_difference_is_that_of_the_textbook():
    some = (values[:80] for values in (LABELS, WEAK, STRONG))
    found = paired_differences(*some, ["brier"], resamples=80, intervals="jackknife")["brier"]
    losses = (STRONG[:80] - LABELS[:80]) ** 2 - (WEAK[:80] - LABELS[:80]) ** 2
    reach = student_t.ppf(0.975, 79) * losses.std(ddof=1) / np.sqrt(80)
    assert (found.low, found.high) == pytest.approx((losses.mean() - reach, losses.mean() + reach), rel=1e-4)


def test_a_model_does_not_differ_from_itself():
    found = paired_differences(LABELS, WEAK, WEAK, ["roc_auc"])["roc_auc"]
    assert (found.difference, found.low, found.high, found.differs) == (0, 0, 0, False)


def test_weights_count_and_numbers_can_be_compared_too():
    weights = np.where(LABELS == 1, 3.0, 0.5)
    found = paired_differences(LABELS, WEAK, STRONG, ["brier"], weights=weights)["brier"]
    assert found.one == pytest.approx(np.average((WEAK - LABELS) ** 2, weights=weights))
    numbers = paired_differences(TRUTH, WEAK, STRONG, ["rmse"], kind="regression")["rmse"]
    assert numbers.high < 0


def test_of_many_rows_a_sample_tells_and_is_scaled():
    many = {name: np.tile(values, 10) for name, values in (("labels", LABELS), ("one", WEAK), ("other", STRONG))}
    wide = paired_differences(LABELS, WEAK, STRONG, ["brier"], resamples=60)["brier"]
    narrow = paired_differences(**many, metrics=["brier"], resamples=60)["brier"]
    assert narrow.difference == pytest.approx(wide.difference)
    assert (narrow.high - narrow.low) == pytest.approx((wide.high - wide.low) / 10**0.5, rel=0.4)


def test_scores_of_other_rows_are_refused():
    with pytest.raises(DataError, match="2,000 labels, and 2,000 and 10 scores"):
        paired_differences(LABELS, WEAK, STRONG[:10], ["roc_auc"])


def judged(one, other, **options):
    pair = paired_differences(LABELS, one, other, ["roc_auc", "log_loss"])
    metrics = {name: MetricValue(p.other, np.nan, np.nan, 2_000) for name, p in pair.items()}
    champion = {name: {"value": p.one} for name, p in pair.items()}
    evidence = Evidence(Evaluation(rows=2_000, metrics=metrics), champion, pair)
    return not_worse_than_champion(options.pop("metric", "roc_auc"), **options).judge(evidence)


def test_a_gate_holds_nothing_against_a_model_that_chance_may_have_made():
    shade = np.clip(WEAK + RANDOM.normal(0, 0.003, 2_000), 0, 1)
    assert judged(STRONG, STRONG).passed
    assert judged(WEAK, shade).passed
    assert not judged(STRONG, WEAK).passed
    assert not judged(STRONG, WEAK, metric="log_loss").passed
    assert judged(WEAK, STRONG, metric="log_loss").passed
    assert judged(STRONG, WEAK, by=0.2).passed


def test_a_gate_that_wants_proof_looks_at_the_whole_interval():
    assert not judged(WEAK, np.clip(WEAK + RANDOM.normal(0, 0.05, 2_000), 0, 1), proven=True).passed
    assert judged(WEAK, np.clip(WEAK + RANDOM.normal(0, 0.05, 2_000), 0, 1), proven=True, by=0.05).passed
    assert judged(WEAK, STRONG, proven=True).passed
    assert "on the same 2,000 rows" in judged(WEAK, STRONG).message


def judged_by_slice(one, other, columns, name="roc_auc", crosses=(), **options):
    pairs = paired_slices(LABELS, one, other, columns, [name], crosses=crosses)
    evidence = Evidence(Evaluation(rows=2_000, metrics={}), {name: {"value": 0.5}}, None, paired_slices=pairs)
    return no_slice_worse_than_champion(name, **options).judge(evidence)


def test_a_model_that_is_better_as_a_whole_is_stopped_by_the_slice_in_which_it_is_worse():
    group = np.repeat(["small", "large"], [500, 1_500])
    other = np.where(group == "small", 1 - STRONG, STRONG)
    found = judged_by_slice(WEAK, other, {"group": group})
    assert not found.passed
    assert "group = small (500 rows)" in found.message
    assert judged_by_slice(WEAK, other, {"group": group}, by=1.0).passed
    assert not judged_by_slice(WEAK, other, {"group": group}, "log_loss").passed
    assert judged_by_slice(WEAK, STRONG, {"group": group}).passed


def test_a_cell_of_a_cross_stops_a_model_that_is_better_in_every_column():
    first, second = np.repeat(["a", "b"], 1_000), np.tile(["x", "y"], 1_000)
    cell = (first == "a") & (second == "x")
    other = np.where(cell & (np.arange(2_000) % 12 == 0), 1 - STRONG, STRONG)
    columns = {"first": first, "second": second}
    assert judged_by_slice(WEAK, other, columns).passed
    found = judged_by_slice(WEAK, other, columns, crosses=[("first", "second")])
    assert not found.passed
    assert "first × second = a × x (500 rows)" in found.message


def test_chance_in_one_of_many_slices_is_not_held_against_a_model():
    many = np.arange(2_000) % 10
    shade = np.clip(STRONG + np.random.default_rng(3).normal(0, 0.02, 2_000), 0, 1)
    assert judged_by_slice(STRONG, shade, {"group": many}).passed


def test_a_gate_on_slices_that_saw_none_fails_and_without_a_champion_passes():
    assert not judged_by_slice(WEAK, STRONG, {"group": np.arange(2_000)}).passed
    gate = no_slice_worse_than_champion("roc_auc")
    assert gate.judge(Evidence(Evaluation(rows=1, metrics={}))).passed
    with pytest.raises(DefinitionError, match="must not be negative"):
        no_slice_worse_than_champion("roc_auc", by=-1)
