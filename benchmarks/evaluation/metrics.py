"""All metrics with bootstrap intervals, beside scikit-learn's plain values: python benchmarks/evaluation/metrics.py"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from carrara.evaluation.metrics import measure

ROWS, RUNS = 60_000, 5


def seconds(work: Callable[[], object]) -> float:
    """The median of several runs."""
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def plain(labels: np.ndarray, scores: np.ndarray) -> None:
    roc_auc_score(labels, scores)
    average_precision_score(labels, scores)
    log_loss(labels, scores)


random = np.random.default_rng(0)
labels = random.random(ROWS) < 0.3
scores = np.clip(random.normal(0.3 + 0.2 * labels, 0.2), 0, 1)
theirs = seconds(lambda: plain(labels, scores))
for name, ours in {
    "11 metrics, no intervals": seconds(lambda: measure(labels, scores, bootstrap=0)),
    "11 metrics, 200 resamples": seconds(lambda: measure(labels, scores)),
}.items():
    print(
        f"{name:<28}{ours:8.3f} s   {ours / theirs:6.1f} x scikit-learn's ROC AUC, PR AUC and log loss ({theirs:.3f} s)"
    )
