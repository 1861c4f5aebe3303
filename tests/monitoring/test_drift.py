"""Drift, with scipy and brute force as the judges."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon

from carrara.core.errors import ColumnMissing, DataError
from carrara.monitoring.drift import (
    ReferenceDistribution,
    feature_drift,
    histogram,
    jensen_shannon,
    l_infinity,
    psi,
    quantile_edges,
)

RANDOM = np.random.default_rng(0)
counts = arrays(np.int64, 6, elements=st.integers(0, 1_000)).filter(lambda found: found.sum() > 0)


@given(counts, counts)
def test_the_divergence_is_the_squared_distance_of_scipy(expected, actual):
    assert jensen_shannon(expected, actual) == pytest.approx(jensenshannon(expected, actual, base=2) ** 2, abs=1e-9)


@given(counts, counts)
def test_distances_are_symmetric_and_bounded(expected, actual):
    for distance in (psi, jensen_shannon, l_infinity):
        assert distance(expected, actual) == pytest.approx(distance(actual, expected))
        assert distance(expected, actual) >= 0
    assert jensen_shannon(expected, actual) <= 1
    assert l_infinity(expected, actual) <= 1


@given(counts, st.integers(1, 9))
def test_equal_shares_are_at_no_distance(expected, factor):
    for distance in (psi, jensen_shannon, l_infinity):
        assert distance(expected, expected * factor) == pytest.approx(0, abs=1e-12)


def test_psi_is_its_formula():
    assert psi([50, 50], [75, 25]) == pytest.approx(0.25 * math.log(1.5) - 0.25 * math.log(0.5))


def test_an_empty_bin_counts_as_the_least_share():
    assert psi([50, 50, 0], [50, 50, 0]) == 0
    assert psi([100, 0], [0, 100]) == pytest.approx(2 * (1 - 1e-4) * math.log(1e4))


def test_disjoint_distributions_are_as_far_as_can_be():
    assert jensen_shannon([5, 0], [0, 9]) == pytest.approx(1)
    assert l_infinity([5, 0], [0, 9]) == 1


@given(arrays(np.float64, 30, elements=st.floats(-10, 10) | st.sampled_from([math.nan, math.inf])))
def test_a_histogram_equals_a_loop_over_the_values(values):
    edges = np.array([-5.0, 0.0, 5.0])
    bins = [sum(e <= v for e in edges) if math.isfinite(v) else 4 for v in values]
    assert histogram(values, edges).tolist() == [bins.count(b) for b in range(5)]


def test_quantile_bins_hold_about_equal_rows():
    values = RANDOM.normal(size=1_000)
    assert histogram(values, quantile_edges(values)).tolist() == [100] * 10 + [0]


def test_a_constant_that_moves_is_seen_and_its_float32_self_is_not():
    reference = {"rate": ReferenceDistribution.from_values(np.full(500, 0.1))}
    (same,) = feature_drift(reference, {"rate": np.full(50, 0.1, dtype=np.float32)})
    (moved,) = feature_drift(reference, {"rate": np.full(50, 0.11)})
    assert same.psi == 0
    assert moved.l_infinity == 1


def test_the_shifted_feature_comes_first():
    names = ["still", "shifted", "missing"]
    reference = {name: ReferenceDistribution.from_values(RANDOM.normal(size=5_000)) for name in names}
    window = {name: RANDOM.normal(size=2_000) for name in names}
    window["shifted"] += 2
    window["missing"][:200] = np.nan
    shifted, missing, still = feature_drift(reference, window)
    assert (shifted.feature, missing.feature, still.feature) == ("shifted", "missing", "still")
    assert still.psi < 0.02 < 0.25 < missing.psi < shifted.psi
    assert (missing.null_share_expected, missing.null_share_actual, missing.rows) == (0, 0.1, 2_000)
    assert shifted.as_dict()["psi"] == shifted.psi


def test_texts_are_compared_by_value_with_the_new_ones_together():
    reference = {"carrier": ReferenceDistribution.from_values(np.array(["AA", "UA", None, "AA"], dtype=object))}
    assert reference["carrier"].counts.tolist() == [2, 1, 0, 1]
    (drift,) = feature_drift(reference, {"carrier": np.array(["AA", "B6", "B6", "F9"])})
    assert drift.l_infinity == pytest.approx(0.75)
    assert drift.null_share_actual == 0


@pytest.mark.parametrize(
    "values",
    [
        np.append(RANDOM.normal(size=300), [np.nan, np.inf]),
        np.arange(100),
        np.array(["AA", "UA", None] * 20, dtype=object),
        np.array([True, False, True]),
        np.full(10, np.nan),
    ],
    ids=["floats", "integers", "texts", "booleans", "only NaN"],
)
def test_values_are_at_no_distance_from_themselves_nor_from_what_a_record_keeps_of_them(values):
    taken = ReferenceDistribution.from_values(values)
    recorded = ReferenceDistribution.from_dict(json.loads(json.dumps(taken.as_dict())))
    for reference in (taken, recorded):
        (drift,) = feature_drift({"x": reference}, {"x": values})
        assert (drift.psi, drift.l_infinity) == (0, 0)
        assert drift.null_share_expected == drift.null_share_actual


def test_an_empty_window_is_an_error_and_never_a_zero():
    reference = {"x": ReferenceDistribution.from_values(np.arange(10.0))}
    with pytest.raises(DataError, match="the window has no rows of 'x'"):
        feature_drift(reference, {"x": np.array([])})
    for distance in (psi, jensen_shannon, l_infinity):
        with pytest.raises(DataError, match="without rows"):
            distance([1, 2], [0, 0])


def test_what_cannot_be_compared_is_refused():
    reference = {"speed": ReferenceDistribution.from_values(np.arange(10.0))}
    with pytest.raises(ColumnMissing, match="Did you mean 'speeds'"):
        feature_drift(reference, {"speeds": np.arange(3.0)})
    with pytest.raises(DataError, match="not numbers"):
        feature_drift(reference, {"speed": np.array(["fast"])})
    with pytest.raises(DataError, match="2 and 3 bins"):
        psi([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="no finite value"):
        quantile_edges(np.array([np.nan]))


def test_columns_that_the_reference_does_not_have_are_not_looked_at():
    assert feature_drift({}, {"new": np.arange(3.0)}) == []
