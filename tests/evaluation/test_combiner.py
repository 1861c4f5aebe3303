"""Combiners: metrics of one's own that are added up batch by batch, here or anywhere, and are the same."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import fbeta_score, matthews_corrcoef

import carrara
from carrara.core.errors import DataError, DefinitionError
from carrara.evaluation import combiner as combiners
from carrara.evaluation.evaluate import evaluate
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.metrics import measure
from carrara.evaluation.slices import measure_slices

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.random(3_000)
LABELS = (RANDOM.random(3_000) < SCORES).astype(np.float64)
SIDE = np.where(RANDOM.random(3_000) < 0.4, "left", "right")


@carrara.metric(greater_is_better=True)
class f2:  # noqa: N801  # the metric's name
    """F beta with recall counting twice."""

    def create(self):
        return np.zeros(3)

    def add(self, state, labels, scores, weights):
        positive, true = scores >= 0.5, labels == 1
        counts = [(weights * rows).sum() for rows in (positive & true, positive & ~true, ~positive & true)]
        return state + counts

    def merge(self, one, other):
        return one + other

    def result(self, state):
        hits, alarms, missed = state
        return 5 * hits / (5 * hits + alarms + 4 * missed) if hits else float("nan")


@carrara.metric(greater_is_better=True)
class correlation:  # noqa: N801
    """Of labels and answers, as Matthews defined it."""

    def create(self):
        return np.zeros((2, 2))

    def add(self, state, labels, scores, weights):
        found = state.copy()
        np.add.at(found, (labels.astype(int), (scores >= 0.5).astype(int)), weights)
        return found

    def merge(self, one, other):
        return one + other

    def result(self, state):
        (tn, fp), (fn, tp) = state
        return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def test_a_combiner_is_a_metric_with_an_interval_and_weights():
    weights = RANDOM.random(3_000)
    found = measure(LABELS, SCORES, [f2, correlation], weights=weights)
    answers = SCORES >= 0.5
    assert found["f2"].value == pytest.approx(fbeta_score(LABELS, answers, beta=2, sample_weight=weights))
    assert found["correlation"].value == pytest.approx(matthews_corrcoef(LABELS, answers, sample_weight=weights))
    assert found["f2"].low < found["f2"].value < found["f2"].high


@given(
    cuts=st.lists(st.integers(0, 3_000), max_size=12),
    order=st.randoms(use_true_random=False),
    tree=st.booleans(),
)
def test_however_rows_are_cut_and_merged_the_metric_is_that_of_all_of_them(cuts, order, tree):
    """Streaming is the whole: the states of any cut, in any order, merged one after the other or as a tree."""
    for one in (f2, correlation):
        ends = sorted({0, *cuts, 3_000})
        parts = [slice(a, b) for a, b in pairwise(ends)]
        order.shuffle(parts)
        make = one.combiner
        states = [make.add(make.create(), LABELS[p], SCORES[p], np.ones(p.stop - p.start)) for p in parts]
        while tree and len(states) > 1:
            states = [reduce(make.merge, states[n : n + 2]) for n in range(0, len(states), 2)]
        assert make.result(reduce(make.merge, states)) == pytest.approx(one.function(LABELS, SCORES), rel=1e-12)


def test_rows_are_seen_a_batch_at_a_time_and_none_twice(monkeypatch):
    monkeypatch.setattr(combiners, "BATCH_ROWS", 700)
    seen = []

    @carrara.metric(greater_is_better=None)
    class counted:  # noqa: N801
        def create(self):
            return 0

        def add(self, state, labels, scores, weights):
            seen.append(len(labels))
            return state + len(labels)

        def merge(self, one, other):
            return one + other

        def result(self, state):
            return float(state)

    assert counted.function(LABELS, SCORES) == 3_000
    assert seen == [700, 700, 700, 700, 200]


def test_gates_and_slices_ask_for_it_as_for_any_other():
    evaluation = evaluate(LABELS, SCORES, metrics=["roc_auc", f2], slice_columns={"side": SIDE})
    assert carrara.at_least(f2, 0.5).judge(Evidence(evaluation)).passed
    assert not carrara.no_slice_below(f2, 0.99).judge(Evidence(evaluation)).passed
    for one in measure_slices(LABELS, SCORES, {"side": SIDE}, [f2], bootstrap=20):
        inside = one.value == SIDE
        expected = fbeta_score(LABELS[inside], SCORES[inside] >= 0.5, beta=2)
        assert one.metrics["f2"].value == pytest.approx(expected)


def test_it_is_another_metric_when_its_code_or_what_it_was_made_with_is():
    class Within:
        def __init__(self, reach):
            self.reach = reach
            self.name = f"within_{reach:g}"

        def create(self):
            return (0.0, 0.0)

        def add(self, state, labels, scores, weights):
            near = abs(labels - scores) <= self.reach
            return state[0] + float((weights * near).sum()), state[1] + float(weights.sum())

        def merge(self, one, other):
            return one[0] + other[0], one[1] + other[1]

        def result(self, state):
            return state[0] / state[1]

    declare = carrara.metric(greater_is_better=True)
    near, nearer, same = declare(Within(0.2)), declare(Within(0.1)), declare(Within(0.2))
    assert (near.name, nearer.name) == ("within_0.2", "within_0.1")
    assert near.digest == same.digest
    assert near.digest != nearer.digest
    assert f2.digest != correlation.digest
    assert f2.spec() == {"name": "f2", "function": f2.digest}
    assert near.function(LABELS, SCORES) == pytest.approx((abs(LABELS - SCORES) <= 0.2).mean())


def test_a_class_that_lacks_a_method_and_one_that_fails_are_named():
    with pytest.raises(DefinitionError, match=r"(?s)'half' has no method 'merge'.*create, add, merge, result"):

        @carrara.metric(greater_is_better=True)
        class half:  # noqa: N801
            def create(self): ...

            def add(self, state, labels, scores, weights): ...

    @carrara.metric(greater_is_better=True)
    class broken:  # noqa: N801
        def create(self):
            return {}

        def add(self, state, labels, scores, weights):
            return state["rows"]

        def merge(self, one, other):
            return one

        def result(self, state):
            return 0.0

    with pytest.raises(DataError, match="the metric 'broken' failed: KeyError: 'rows'"):
        measure(LABELS, SCORES, [broken])
