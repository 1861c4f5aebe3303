"""All metrics with bootstrap intervals, and one's own as a function and as a combiner, beside scikit-learn's plain
values: python benchmarks/evaluation/metrics.py"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

import carrara
from carrara.evaluation.metrics import METRICS, measure

ROWS, RUNS = 60_000, 5


def seconds(work: Callable[[], object]) -> float:
    """The median of several runs."""
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@carrara.metric(greater_is_better=True)
def by_function(labels, scores, weights):
    positive, true = scores >= 0.5, labels == 1
    hits = weights[positive & true].sum()
    return hits / weights[positive].sum()


@carrara.metric(greater_is_better=True)
class by_combiner:  # noqa: N801  # the metric's name
    def create(self):
        return np.zeros(2)

    def add(self, state, labels, scores, weights):
        positive = scores >= 0.5
        counted = [weights[positive & (labels == 1)].sum(), weights[positive].sum()]
        return state + np.array(counted)

    def merge(self, one, other):
        return one + other

    def result(self, state):
        return state[0] / state[1]


def plain(labels: np.ndarray, scores: np.ndarray) -> None:
    roc_auc_score(labels, scores)
    average_precision_score(labels, scores)
    log_loss(labels, scores)


random = np.random.default_rng(0)
labels = random.random(ROWS) < 0.3
scores = np.clip(random.normal(0.3 + 0.2 * labels, 0.2), 0, 1)
theirs = seconds(lambda: plain(labels, scores))
for name, ours in {
    f"{len(METRICS)} metrics, no intervals": seconds(lambda: measure(labels, scores, bootstrap=0)),
    f"{len(METRICS)} metrics, 200 resamples": seconds(lambda: measure(labels, scores)),
    "one's own function, 200 resamples": seconds(lambda: measure(labels, scores, [by_function])),
    "one's own combiner, 200 resamples": seconds(lambda: measure(labels, scores, [by_combiner])),
}.items():
    print(
        f"{name:<36}{ours:8.3f} s   {ours / theirs:6.1f} x scikit-learn's ROC AUC, PR AUC and log loss ({theirs:.3f} s)"
    )
