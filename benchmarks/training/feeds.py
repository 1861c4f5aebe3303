"""Input pipelines: rows a second from a matrix into batches of PyTorch and of tf.data.

python benchmarks/training/feeds.py [--rows 4000000] [--in-a-file]

Every pass is an epoch of another order, over rows × 30 features, a label and a weight. With --in-a-file the matrix is
one as a training set larger than memory has, mixed by blocks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import table

from carrara.training import feeds
from carrara.training.feeds import tf_dataset, torch_dataset
from carrara.training.trainers.base import Part

COLUMNS, PASSES = 30, 3


def main(rows: int, in_a_file: bool) -> None:
    with tempfile.TemporaryFile() as file:
        part = _part(rows, file if in_a_file else None)
        if in_a_file:
            feeds.MOST_IN_MEMORY = part.features.size // 8
        shown = [("into", "rows a batch", "million rows a second")]
        for name, dataset in (("torch", torch_dataset), ("tf.data", tf_dataset)):
            for size in (1_024, 8_192):
                shown.append((name, f"{size:,}", f"{_speed(dataset(part, size), rows) / 1e6:.2f}"))
        print("\n".join(table(shown)))


def _part(rows: int, file: object) -> Part:
    random = np.random.default_rng(0)
    shape = (rows, COLUMNS)
    features = np.empty(shape, np.float32) if file is None else np.memmap(file, np.float32, "w+", shape=shape)
    for start in range(0, rows, 1_000_000):
        features[start : start + 1_000_000] = random.normal(size=features[start : start + 1_000_000].shape)
    return Part(np.asarray(features), np.ones(rows, np.float32), np.ones(rows, np.float32))


def _speed(dataset: object, rows: int) -> float:
    """The fastest of several passes, each of which must bring every row."""
    best = 0.0
    for _ in range(PASSES):
        started, seen = time.perf_counter(), 0
        for features, _labels, _weights in dataset:
            seen += int(features.shape[0])
        best = max(best, seen / (time.perf_counter() - started))
        assert seen == rows, f"{seen:,} of {rows:,} rows came"
    return best


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--in-a-file", action="store_true")
    given = parser.parse_args()
    main(given.rows, given.in_a_file)
