"""Processes that grow the same trees keep their rows where these are: in files, where they are larger than memory."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from carrara.training.checkpoints import FileCheckpoint
from carrara.training.cluster.processes import local_cluster
from carrara.training.feeds import batches
from carrara.training.trainers.base import Part
from carrara.training.trainers.torch_feed import Feed
from carrara.training.trainers.xgboost_collective import share

WORKER = """
import sys
from pathlib import Path
import numpy as np
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.trainers import xgboost_data
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.xgboost import XGBoost

if sys.argv[1] == "files":
    xgboost_data.MOST_IN_MEMORY, xgboost_data._BATCH_ROWS = 0, 500
random = np.random.default_rng(0)
x = random.normal(size=(4_000, 5)).astype(np.float32)
y = (x[:, 0] + random.normal(size=4_000) > 0).astype(np.float32)
task = Task("binary", tuple("abcde"), checkpoint=FileCheckpoint(Path(sys.argv[2])))
XGBoost(trees=10, depth=3).join(Part(x[:3_000], y[:3_000]), Part(x[3_000:], y[3_000:]), task)
"""


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_each_row_of_an_epoch_is_the_share_of_one_worker(workers):
    torch = pytest.importorskip("torch")
    rows = 1_000
    part = Part(np.arange(rows, dtype=np.float32)[:, None], np.zeros(rows, np.float32))
    cpu = torch.device("cpu")
    by_batches, by_slices, by_share = [], [], []
    for rank in range(workers):
        feed = Feed(torch, cpu, rank, workers)
        orders = batches(part, 64, seed=1, epoch=1)
        by_batches += [batch.features.numpy().ravel() for batch in feed.batches(part, orders)]
        by_slices += [batch.features.numpy().ravel() for batch in feed.slices(part)]
        by_share.append(share(part, rank, workers).features.ravel())
    for found in (by_batches, by_slices, by_share):
        np.testing.assert_array_equal(np.sort(np.concatenate(found)), part.features.ravel())


@pytest.mark.slow
def test_workers_learn_from_files_what_they_learn_in_memory(tmp_path):
    grown = {}
    for where in ("memory", "files"):
        host, _, port = local_cluster({"master": 1}).task_address("master", 0).partition(":")
        there = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": host, "MASTER_PORT": port}
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, where, str(tmp_path / f"{where}-{rank}")],
                env={**there, "RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in (0, 1)
        ]
        said = [worker.communicate(timeout=120)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], said
        assert not any("external memory cache" in text for text in said), said
        grown[where] = msgspec.msgpack.decode(FileCheckpoint(tmp_path / f"{where}-0").read())
    assert grown["memory"]["curve"] == grown["files"]["curve"]
    assert grown["memory"]["model"] == grown["files"]["model"]
