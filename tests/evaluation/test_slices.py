"""Metrics by slice."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import DataError
from carrara.evaluation.metrics import METRICS
from carrara.evaluation.slices import MISSING, OTHER, SliceResult, measure_slices

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.random(1_000)
LABELS = RANDOM.random(1_000) < SCORES


def slices(cells, **options):
    return measure_slices(LABELS, SCORES, {"column": cells}, ["roc_auc"], bootstrap=10, **options)


def test_a_slice_has_the_metric_of_its_rows_and_the_largest_comes_first():
    carriers = np.repeat(np.array(["UA", "AA"]), [300, 700])
    first, second = slices(carriers)
    assert (first.value, first.rows, second.value, second.rows) == ("AA", 700, "UA", 300)
    assert first.metrics["roc_auc"].value == METRICS["roc_auc"].function(LABELS[300:], SCORES[300:])


def test_slices_that_are_too_small_are_pooled_last():
    carriers = np.array(["AA"] * 600 + ["UA"] * 150 + ["DL"] * 150 + ["B6"] * 100, dtype=object)
    found = slices(carriers, min_rows=200)
    assert [(one.value, one.rows) for one in found] == [("AA", 600), (OTHER, 400)]
    assert found[1].metrics["roc_auc"].value == METRICS["roc_auc"].function(LABELS[600:], SCORES[600:])


def test_floats_are_cut_to_quartiles_and_missing_values_are_a_slice():
    cells = np.append(np.arange(800.0), np.full(200, np.nan))
    found = slices(cells)
    assert [one.rows for one in found] == [200] * 5
    assert {one.value for one in found} == {"< 199.8", "[199.8, 399.5)", "[399.5, 599.2)", "≥ 599.2", MISSING}


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (np.arange(1_000) % 2, {"0", "1"}),
        (np.arange(1_000) % 2 == 0, {"true", "false"}),
        (np.array(["AA", None] * 500, dtype=object), {"AA", MISSING}),
        (np.full(1_000, 7.5), {"≥ 7.5"}),
        (np.full(1_000, np.nan), {MISSING}),
        (np.tile([-1.0, 2.0, np.nan, 2.0], 250), {"-1", "2", MISSING}),
    ],
    ids=["integers", "booleans", "texts with nulls", "one float", "only NaN", "whole numbers that may be missing"],
)
def test_every_kind_of_column_can_be_sliced(cells, values):
    found = slices(cells)
    assert {one.value for one in found} == values
    assert sum(one.rows for one in found) == 1_000


def test_a_planted_weak_slice_is_found():
    weak = np.arange(1_000) < 400
    scores = np.where(weak, 1 - SCORES, SCORES)
    found = measure_slices(LABELS, scores, {"weak": weak}, ["roc_auc"], bootstrap=0)
    values = {one.value: one.metrics["roc_auc"].value for one in found}
    assert values["true"] < 0.4 < 0.6 < values["false"]


def test_a_slice_comes_back_from_its_dictionary():
    (one,) = slices(np.full(1_000, "AA"))
    assert SliceResult.from_dict(one.as_dict()) == one


def test_a_column_of_another_length_is_refused():
    with pytest.raises(DataError, match="slice column 'column' has 3 rows, and there are 1,000"):
        slices(np.array([1, 2, 3]))


def test_ten_thousand_values_are_a_thousand_slices_and_the_rest():
    rows = 30_000
    random = np.random.default_rng(0)
    scores = random.random(rows)
    found = measure_slices(
        random.random(rows) < scores, scores, {"id": np.arange(rows) % 10_000}, ["brier"], bootstrap=5, min_rows=1
    )
    assert len(found) == 1_001
    assert (found[-1].value, sum(one.rows for one in found)) == (OTHER, rows)
