"""The search for weak slices finds what is planted, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import DataError
from carrara.evaluation.fairness import compare_slices, differences
from carrara.evaluation.losses import row_losses
from carrara.evaluation.segments import segments
from carrara.evaluation.slices import measure_slices
from carrara.evaluation.weak_slices import weakest_slices

ROWS = 8_000


def flights(seed=0):
    random = np.random.default_rng(seed)
    columns = {
        "carrier": random.choice(np.array(["AA", "UA", "DL", "B6"]), ROWS),
        "hour": random.integers(0, 24, ROWS) // 6,
        "wind": random.normal(size=ROWS),
    }
    scores = random.beta(2, 2, ROWS)
    return columns, random.random(ROWS) < scores, scores


def test_a_planted_slice_of_two_columns_is_named_first():
    columns, labels, scores = flights()
    planted = (columns["carrier"] == "B6") & (columns["hour"] == 3)
    labels[planted] = ~labels[planted] | (scores[planted] < 0.5)
    worst = weakest_slices(row_losses(labels, scores), columns, min_rows=100)[0]
    assert worst.conditions == {"carrier": "B6", "hour": "3"}
    assert worst.confirmed
    assert worst.low > worst.rest


def test_a_planted_slice_of_one_column_is_not_named_by_two():
    columns, labels, scores = flights()
    planted = columns["carrier"] == "UA"
    labels[planted] = np.random.default_rng(1).random(planted.sum()) < 1 - scores[planted]
    found = weakest_slices(row_losses(labels, scores), columns, min_rows=100)
    assert found[0].conditions == {"carrier": "UA"}
    assert not any("UA" in one.conditions.values() for one in found[1:])


@pytest.mark.parametrize("seed", range(5))
def test_what_is_everywhere_as_bad_has_no_weak_slice(seed):
    columns, labels, scores = flights(seed)
    found = weakest_slices(row_losses(labels, scores), columns, min_rows=100, seed=seed)
    assert not [one for one in found if one.confirmed]


def test_the_figures_are_those_of_rows_that_did_not_choose():
    columns, labels, scores = flights()
    losses = row_losses(labels, scores)
    losses[columns["carrier"] == "AA"] += 0.3
    worst = weakest_slices(losses, columns)[0]
    halves = np.random.default_rng(0).random(ROWS) < 0.5
    confirming = losses[~halves & (columns["carrier"] == "AA")]
    assert (worst.rows, worst.loss) == (len(confirming), pytest.approx(confirming.mean()))
    assert worst.looked_at > 20


def test_segments_differ_by_the_feature_that_makes_them_bad():
    columns, labels, scores = flights()
    losses = row_losses(labels, scores)
    losses[columns["wind"] > 1.2] += 4
    best, *_, worst = segments(losses, columns)
    assert best.losses < worst.losses
    assert worst.features[0]["feature"] == "wind"
    assert worst.features[0]["share"] > worst.features[0]["elsewhere"]


def test_segments_of_two_models_are_where_they_differ():
    columns, _, _ = flights()
    random = np.random.default_rng(3)
    one, other = random.random(ROWS), random.random(ROWS)
    one[columns["carrier"] == "AA"] += 9
    other[columns["carrier"] == "UA"] += 9
    found = segments(np.column_stack([one, other]), columns)
    named = {segment.features[0]["value"] for segment in found if max(segment.losses) > 5}
    assert named == {"AA", "UA"}


def test_groups_that_are_treated_differently_are_told_from_those_that_are_not():
    columns, labels, scores = flights()
    scores[columns["carrier"] == "B6"] *= 0.5
    slices = measure_slices(labels, scores, {n: columns[n] for n in ("carrier", "hour")}, ["predicted_rate"])
    unfair, fair = differences(slices)
    assert (unfair.column, unfair.low) == ("carrier", "B6")
    assert unfair.low_bound > 0
    assert fair.low_bound < 0 < fair.high_bound
    two = compare_slices(slices[0], slices[1], "predicted_rate")
    assert two.difference <= unfair.difference


def test_what_has_no_loss_by_row_is_refused():
    with pytest.raises(DataError, match="no loss of its own"):
        row_losses([1], [1.0], "ranking")
