"""Sequential tests: looked at again and again, they err as seldom as they say; and they see what is there."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from carrara.evaluation.sequential import RateTest, Stratum, distance_at_least, evidence_above, upper_rate


def stopped(random, candidate: float, baseline: float, *, odds=1.0, looks=40, alpha=0.01) -> bool:
    """Whether a canary of a tenth of the traffic is stopped at any of its looks; traffic and rates change with time."""
    test = RateTest(odds)
    for _ in range(looks):
        wave, trials = random.uniform(0.2, 3.0), random.integers(0, 30)
        others = random.integers(0, 300)
        test.add(
            Stratum(
                random.binomial(trials, min(1, candidate * wave)),
                trials,
                random.binomial(others, min(1, baseline * wave)),
                others,
            )
        )
        if test.evidence >= 1 / alpha:
            return True
    return False


def test_a_canary_that_is_as_good_is_stopped_in_less_than_one_of_a_hundred_whatever_the_looks():
    random = np.random.default_rng(1)
    stops = sum(stopped(random, 0.05, 0.05) for _ in range(250))
    assert stops <= 6  # binomial(250, 0.01), nearly always


def test_a_canary_that_fails_thrice_as_often_is_stopped():
    random = np.random.default_rng(2)
    assert sum(stopped(random, 0.15, 0.05) for _ in range(20)) >= 18


def test_what_is_within_the_allowance_is_no_reason_to_stop():
    random = np.random.default_rng(3)
    assert sum(stopped(random, 0.08, 0.05, odds=2.0) for _ in range(100)) <= 4


def test_an_outage_that_hits_both_arms_alike_stops_nothing():
    test = RateTest()
    for _ in range(20):
        test.add(Stratum(10, 10, 90, 90))
    assert test.evidence == pytest.approx(1.0)


def test_the_expectation_of_a_stratum_is_one_while_nothing_is_wrong():
    """By enumeration: the judge is the hypergeometric distribution, written out."""
    trials, others, both = 4, 7, 5
    expected = 0.0
    for events in range(both + 1):
        if events <= trials and both - events <= others:
            chance = math.comb(trials, events) * math.comb(others, both - events) / math.comb(trials + others, both)
            test = RateTest()
            test.add(Stratum(events, trials, both - events, others))
            expected += chance * test.evidence
    assert expected == pytest.approx(1.0)


def test_a_rate_above_a_bound_is_seen_and_one_at_the_bound_is_not():
    random = np.random.default_rng(4)
    false = 0
    for _ in range(150):
        failures = np.cumsum(random.random(400) < 0.05)
        false += any(evidence_above(int(failures[n]), n + 1, 0.05) >= 100 for n in range(0, 400, 5))
    assert false <= 5
    assert evidence_above(3, 3, 0.03) >= 100


@pytest.mark.parametrize(("events", "trials"), list(product([0, 3, 20], [20, 1_000])))
def test_an_upper_limit_is_as_often_below_the_rate_as_it_says(events, trials):
    limit = upper_rate(events, trials, 0.05)
    if events == trials:
        assert limit == 1.0
        return
    at_most = sum(math.comb(trials, k) * limit**k * (1 - limit) ** (trials - k) for k in range(events + 1))
    assert at_most == pytest.approx(0.05, rel=1e-6)


def test_distributions_that_are_the_same_are_never_apart_and_those_that_are_apart_are_seen():
    random = np.random.default_rng(5)
    for _ in range(20):
        ours, theirs = random.integers(0, 20, 3_000), random.integers(0, 20, 3_000)
        for count in (100, 1_000, 3_000):
            assert distance_at_least(counted(ours[:count]), counted(theirs[:count]), 0.01) == 0.0
    shifted = counted(random.integers(8, 28, 3_000))
    assert distance_at_least(shifted, counted(random.integers(0, 20, 3_000)), 0.01) > 0.2
    assert distance_at_least({}, shifted, 0.01) == 0.0


def counted(values) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
