"""Scaling: a compute-bound net by one and by two workers of one core each.

python benchmarks/training/scaling.py [--rows 190000] [--trainers torch,keras]

Each worker has one thread, so that two of them are twice the cores. Told are the seconds of the fastest epoch after the
first one (the start of the processes is no part of it), and how many times as fast two workers are (asked: 1.6).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import table

import carrara
from carrara.training.cluster.supervisor import fit_together
from carrara.training.cluster.team import Team
from carrara.training.trainers.base import Part, Task

COLUMNS, EPOCHS = 64, 3
TRAINERS = {"torch": carrara.Torch, "keras": carrara.Keras}


def main(rows: int, trainers: list[str]) -> None:
    train, held = _part(rows, 0), _part(rows // 20, 1)
    shown = [("trainer", "1 worker s", "2 workers s", "times as fast")]
    for name in trainers:
        one, two = (_seconds(name, train, held, workers) for workers in (1, 2))
        shown.append((name, f"{one:.2f}", f"{two:.2f}", f"{one / two:.2f}"))
    print("\n".join(table(shown)))


def _part(rows: int, seed: int) -> Part:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    return Part(features, (features[:, 0] * features[:, 1] > 0).astype(np.float32))


def _seconds(name: str, train: Part, held: Part, workers: int) -> float:
    """Of an epoch, the fastest after the first one."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    ended: list[float] = []
    trainer = TRAINERS[name](layers=(1024, 1024), epochs=EPOCHS, early_stopping=EPOCHS, batch_rows=4_096, dropout=0.0)
    names = tuple(f"f{number}" for number in range(COLUMNS))
    task = Task("binary", names, team=Team(workers), report=lambda number, loss: ended.append(time.perf_counter()))
    fit_together(trainer, train, held, replace(task, tell=print))
    return min(later - sooner for sooner, later in pairwise(ended))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=190_000)
    parser.add_argument("--trainers", default="torch,keras")
    given = parser.parse_args()
    main(given.rows, given.trainers.split(","))
