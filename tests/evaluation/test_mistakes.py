"""Mistakes: what sorts there are, which rows are drawn, and which are farthest from right."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.evaluation.mistakes import mistakes

RANDOM = np.random.default_rng(2)
SCORES = RANDOM.random(2_000)
LABELS = (RANDOM.random(2_000) < SCORES).astype(np.float64)


def test_false_positives_and_negatives_are_counted_and_the_surest_come_first():
    positive, negative = mistakes(LABELS, SCORES, kind="binary", threshold=0.6)
    wrong = np.flatnonzero((SCORES >= 0.6) & (LABELS == 0))
    assert (positive.sort, positive.count, positive.share) == ("false positive", len(wrong), len(wrong) / 2_000)
    assert positive.worst == tuple(wrong[np.argsort(-SCORES[wrong])][:10])
    missed = np.flatnonzero((SCORES < 0.6) & (LABELS == 1))
    assert (negative.sort, negative.count) == ("false negative", len(missed))
    assert negative.worst == tuple(missed[np.argsort(SCORES[missed])][:10])
    assert set(positive.drawn) <= set(wrong)
    assert set(negative.drawn) <= set(missed)


def test_every_mistake_is_as_likely_to_be_drawn():
    labels, scores = np.zeros(40), np.linspace(0.5, 1, 40)
    times = np.zeros(40)
    for seed in range(2_000):
        (found, _) = mistakes(labels, scores, kind="binary", seed=seed)
        assert len(set(found.drawn)) == 10
        times[list(found.drawn)] += 1
    # 500 of 2,000 each; five standard deviations of a hypergeometric draw.
    assert np.abs(times - 500).max() < 5 * np.sqrt(2_000 * 0.25 * 0.75)


def test_the_same_seed_draws_the_same_rows_and_another_one_others():
    one, same, other = (mistakes(LABELS, SCORES, kind="binary", seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one[0].drawn != other[0].drawn
    assert one[0].worst == other[0].worst


def test_confused_classes_are_sorts_of_their_own_the_most_frequent_first():
    labels = np.array([0, 0, 0, 1, 2, 2])
    scores = np.array([[0.2, 0.8, 0], [0.4, 0.6, 0], [0.9, 0.1, 0], [0, 1, 0], [0.5, 0.1, 0.4], [0, 0, 1]])
    found = mistakes(labels, scores, kind="multiclass", classes=("at", "it", "de"))
    assert [(one.sort, one.worst) for one in found] == [("at taken for it", (0, 1)), ("de taken for at", (4,))]


def test_several_labels_have_false_positives_and_negatives_each():
    labels, scores = np.array([[0, 1], [0, 1], [1, 0]]), np.array([[0.9, 0.8], [0.7, 0.9], [0.8, 0.6]])
    found = mistakes(labels, scores, kind="multilabel", classes=("good", "cheap"))
    assert [(one.sort, one.count) for one in found] == [("good: false positive", 2), ("cheap: false positive", 1)]


def test_of_numbers_the_farthest_misses_on_either_side():
    high, low = mistakes(np.array([1.0, 2, 3, 4]), np.array([3.0, 2.5, 3, -4]), kind="regression")
    assert (high.sort, high.worst, low.sort, low.worst) == ("too high", (0, 1), "too low", (3,))


@pytest.mark.parametrize("kind", ["ranking", "clustering", "text"])
def test_of_other_kinds_there_are_none(kind):
    assert mistakes(LABELS, SCORES, kind=kind) == []


def test_a_model_without_mistakes_has_sorts_without_rows():
    found = mistakes(np.array([0, 1]), np.array([0.1, 0.9]), kind="binary")
    assert [(one.count, one.drawn, one.worst) for one in found] == [(0, (), ())] * 2
