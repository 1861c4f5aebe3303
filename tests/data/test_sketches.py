"""Sketches: the sketch of a whole is the merged sketch of its parts, and errors stay within what is stated."""

from __future__ import annotations

import math
import struct

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings, strategies as st

from carrara.core.errors import DataError
from carrara.core.hashing import hash_keys, hash_numbers, hash_texts
from carrara.data.sketches import frequent as frequent_module, quantiles as quantiles_module
from carrara.data.sketches.distinct import DistinctSketch
from carrara.data.sketches.frequent import FrequentSketch
from carrara.data.sketches.moments import Moments
from carrara.data.sketches.quantiles import QuantileSketch, decoded, order_codes

PINNED = ["0xa706dd2f4d197e6f", "0x5e025f9ade9eaf3e", "0xe28fe9e7e601eab3", "0x243f379456a54245"]
PINNED_KEY = "0xc9432f2866ec8e07"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PARTS = st.lists(st.lists(FINITE, max_size=30), min_size=1, max_size=4)


def sketch_of(values) -> QuantileSketch:
    sketch = QuantileSketch()
    sketch.add(np.array(values, np.float64))
    return sketch


def state(sketch: QuantileSketch) -> tuple:
    return sketch.shift, sketch.codes.tolist(), sketch.counts.tolist(), sketch.least, sketch.greatest


@pytest.fixture(params=[4_096, 16], ids=["roomy", "tight"])
def room(request, monkeypatch):
    """The number of bins: as it is, and so few that bins are joined on small data."""
    monkeypatch.setattr(quantiles_module, "MOST_BINS", request.param)
    return request.param


@settings(max_examples=150, derandomize=True, deadline=None)
@given(values=st.lists(FINITE, min_size=1))
@example(values=[0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308])
def test_codes_sort_as_the_values_do_and_come_back(values):
    array = np.array(values)
    codes = order_codes(array)
    assert np.array_equal(np.argsort(codes, kind="stable"), np.argsort(array, kind="stable"))
    assert [struct.pack("d", v) for v in decoded(codes)] == [struct.pack("d", v + 0.0) for v in array]


def test_parts_merged_in_any_order_are_the_whole_bit_for_bit(room):
    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(parts=PARTS)
    def check(parts):
        whole = sketch_of([value for part in parts for value in part])
        for order in (parts, parts[::-1]):
            merged = QuantileSketch()
            for part in order:
                merged.merge(sketch_of(part))
            assert state(merged) == state(whole)
            assert whole.codes.size <= room

    check()


@settings(max_examples=100, derandomize=True, deadline=None)
@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=200), share=st.floats(0, 1))
def test_quantiles_of_few_values_are_numpys(values, share):
    expected = float(np.quantile(np.array(values), share))
    assert sketch_of(values).quantile(share) == pytest.approx(expected, rel=1e-9, abs=1e-300)


DISTRIBUTIONS = {
    "normal": lambda random: random.normal(size=300_000),
    "far from zero": lambda random: random.normal(1e6, 10, 300_000),
    "over many magnitudes": lambda random: random.lognormal(0, 5, 300_000),
    "times in microseconds": lambda random: 1.7e15 + np.cumsum(random.integers(1, 9e6, 300_000)),
    "half of them equal": lambda random: np.where(random.random(300_000) < 0.5, 7.0, random.random(300_000)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_rank_of_a_quantile_is_off_by_less_than_a_thousandth(name):
    values = DISTRIBUTIONS[name](np.random.default_rng(0))
    sketch = QuantileSketch()
    for part in np.array_split(values, 7):
        sketch.add(part)
    assert not sketch.exact
    ordered, shares = np.sort(values), np.linspace(0, 1, 201)
    found = sketch.quantiles(shares)
    low = np.searchsorted(ordered, found, side="left") / values.size
    high = np.searchsorted(ordered, found, side="right") / values.size
    assert np.maximum(np.maximum(low - shares, shares - high), 0).max() < 1e-3
    assert (found[0], found[-1]) == (values.min(), values.max())


@settings(max_examples=60, derandomize=True, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100))
def test_a_histogram_is_numpys_and_counts_every_value(values):
    edges = np.linspace(min(values) - 1, max(values) + 1, 8)
    assert sketch_of(values).histogram(edges).tolist() == np.histogram(values, edges)[0].tolist()


def test_a_histogram_of_joined_bins_still_counts_every_value():
    values = np.random.default_rng(1).normal(size=100_000)
    assert sketch_of(values).histogram(np.linspace(values.min(), values.max(), 21)).sum() == 100_000


def test_a_weight_of_two_is_a_value_that_comes_twice():
    values = np.array([1.0, 2.0, 5.0])
    weighted = QuantileSketch()
    weighted.add(values, np.array([2.0, 1.0, 3.0]))
    assert state(weighted) == state(sketch_of([1, 1, 2, 5, 5, 5]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(DataError, match="finite"):
        sketch_of([1.0, value])


def test_a_sketch_comes_back_from_its_plain_data():
    sketch = sketch_of(np.random.default_rng(2).normal(size=50_000))
    assert state(QuantileSketch.from_dict(sketch.as_dict())) == state(sketch)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(parts=st.lists(st.lists(st.floats(-1e6, 1e6), max_size=30), min_size=1, max_size=4))
def test_moments_of_parts_are_those_of_the_whole(parts):
    whole, merged = Moments(), Moments()
    for part in parts:
        other = Moments()
        other.add(np.array(part))
        merged.merge(other)
    whole.add(np.array([value for part in parts for value in part]))
    assert merged.weight == whole.weight
    if whole.weight:
        assert merged.mean == pytest.approx(whole.mean, abs=1e-6)
        assert merged.std == pytest.approx(whole.std, abs=1e-5)


def test_moments_far_from_zero_keep_their_digits():
    values = np.random.default_rng(3).normal(1e9, 1e-2, 10_000)
    moments = Moments()
    for part in np.array_split(values, 9):
        moments.add(part)
    assert moments.std == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("distinct", [0, 1, 100, 5_000, 40_000, 1_000_000])
def test_distinct_values_are_counted_within_three_percent(distinct):
    """The stated error is 0.8 %: three percent are almost four of its standard deviations."""
    whole, merged = DistinctSketch(), DistinctSketch()
    hashes = hash_numbers(np.arange(distinct, dtype=np.int64) * 1_000)
    whole.add(np.concatenate([hashes, hashes]))
    for part in np.array_split(hashes, 3):
        other = DistinctSketch()
        other.add(part)
        merged.merge(other)
    assert whole.estimate() == pytest.approx(distinct, rel=0.03)
    assert np.array_equal(merged.registers, whole.registers)


def test_hashes_do_not_change_with_releases():
    """What was stored is merged with what comes: another hash would count everything twice."""
    assert [hex(h) for h in hash_numbers(np.array([0, 1], np.int64))] == ["0xe220a8397b1dcdaf", "0x910a2dec89025cc1"]
    texts = hash_texts(pl.Series(["", "a", "ä", "x" * 200]))
    assert [hex(h) for h in texts] == PINNED
    assert hex(hash_keys(pl.DataFrame({"a": ["x"], "b": [1]}), ["a", "b"])[0]) == PINNED_KEY


def test_texts_that_share_their_letters_have_hashes_of_their_own():
    texts = ["ab", "ba", "aab", "aba", "a" * 64 + "b", "a" * 128 + "b", "b" + "a" * 64, "", "\0"]
    assert len(set(hash_texts(pl.Series(texts)).tolist())) == len(texts)


TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=20), min_size=1, max_size=4)


def counted(texts: list[str]) -> pl.DataFrame:
    return pl.Series("value", texts, pl.String).value_counts(name="rows").with_columns(pl.col("rows").cast(pl.Float64))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(parts=TEXTS)
def test_few_texts_are_counted_exactly_in_parts_as_in_whole(parts):
    whole, merged = FrequentSketch(), FrequentSketch()
    for part in parts:
        other = FrequentSketch()
        other.add(counted(part))
        merged.merge(other)
    whole.add(counted([text for part in parts for text in part]))
    assert merged.exact
    assert merged.as_dict() == whole.as_dict()


def test_counts_of_many_texts_are_low_by_no_more_than_the_slack(monkeypatch):
    monkeypatch.setattr(frequent_module, "MOST_VALUES", 50)
    random = np.random.default_rng(4)
    texts = [f"t{n}" for n in random.zipf(1.3, 20_000) % 2_000]
    merged = FrequentSketch()
    for part in np.array_split(np.array(texts), 6):
        other = FrequentSketch()
        other.add(counted(part.tolist()))
        merged.merge(other)
    true = dict(counted(texts).iter_rows())
    kept = dict(merged.counts.iter_rows())
    assert 0 < merged.slack <= 20_000 / 50
    assert all(true[text] - merged.slack <= kept.get(text, 0.0) <= true[text] for text in true)
    assert merged.top(1)[0][0] == "t1"
