"""The evaluation of a binary model: python benchmarks/evaluation/binary.py [rows]

Metrics with intervals, slices over 20 features with intervals, the search for weak slices, segments and all charts,
and scikit-learn's plain ROC AUC, PR AUC and log loss beside it. Memory is what the process has more at its highest than
with the labels, the scores and the features alone.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from carrara.evaluation.evaluate import evaluate
from carrara.evaluation.metrics import MAIN_METRICS, measure

FEATURES = 20


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e9


def timed(name: str, work) -> float:
    """Seconds on the wall and of all cores, and the most memory meanwhile beyond what there was."""
    before, most, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], resident() - before)

    watching = threading.Thread(target=watch)
    watching.start()
    started, cpu = time.perf_counter(), time.process_time()
    work()
    wall, spent = time.perf_counter() - started, time.process_time() - cpu
    done.set()
    watching.join()
    print(f"{name:<44}{wall:8.2f} s {spent:8.2f} s of CPU {most[0]:8.2f} GB")
    return wall


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    random = np.random.default_rng(0)
    labels = random.random(rows) < 0.3
    scores = np.clip(random.normal(0.3 + 0.2 * labels, 0.2), 0, 1).astype(np.float32)
    carriers = np.array(["AA", "B6", "DL", "EV", "F9", "MQ", "UA", "US", "VX", "WN"])
    columns = {
        f"feature {n}": pl.Series(random.normal(size=rows) if n % 2 else carriers[random.integers(0, 10, rows)])
        for n in range(FEATURES)
    }
    print(f"{rows:,} rows, {FEATURES} features")
    kernels = (roc_auc_score, average_precision_score, log_loss)
    theirs = timed("scikit-learn: ROC AUC, PR AUC, log loss", lambda: [one(labels, scores) for one in kernels])
    timed("all metrics with intervals", lambda: measure(labels, scores))
    found = []
    ours = timed(
        "all of the evaluation",
        lambda: found.append(
            evaluate(
                labels, scores, metrics=MAIN_METRICS["binary"], slice_columns=columns, searched_columns=columns, seed=0
            )
        ),
    )
    print(f"{len(found[0].slices)} slices, {len(found[0].charts)} charts; {ours / theirs:.1f} x scikit-learn's three")


if __name__ == "__main__":
    main()
