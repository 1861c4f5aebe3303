"""An accelerator beside the processor: the same net, the same rows, in one run.

python benchmarks/training/accelerator.py [--rows 1000000] [--epochs 3] [--device cuda]

A line of JSON for each: seconds of the fastest epoch after the first one (the losses of both parts are a part of it),
the validation losses, and what it computed on; then how many rows a second come to the device from memory of the
machine (copied as the device computes) and from its own (held there). The CPU has all cores.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import carrara
from carrara.training.feeds import batches
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.device import torch_device
from carrara.training.trainers.epochs import run_epochs
from carrara.training.trainers.torch import _ready, _TorchNet
from carrara.training.trainers.torch_feed import Feed
from carrara.training.trainers.torch_group import Group

COLUMNS = 30
NETS = {"128-64": (128, 64), "1024-1024": (1_024, 1_024)}


def main(rows: int, epochs: int, device: str) -> None:
    train, held = _part(rows, 0), _part(max(1_000, rows // 10), 1)
    card = [(device, precision) for precision in ("float32", "tf32", "bf16")]
    asked = [("cpu", "float32"), *(card if device != "cpu" else [])]
    for name, layers in NETS.items():
        for size in (1_024, 8_192):
            for where, precision in asked:
                told = {"net": name, "batch_rows": size, "precision": precision}
                _say("fit", **told, **_fit(train, held, layers, size, epochs, where, precision))
    for holds in (False, True):
        for size in (1_024, 8_192):
            speed = _speed(train, size, torch_device(torch, device), holds)
            _say("feed", held=holds, batch_rows=size, million_rows_a_second=round(speed / 1e6, 2))


def _fit(
    train: Part, held: Part, layers: tuple[int, ...], size: int, epochs: int, device: str, precision: str
) -> dict[str, Any]:
    ended: list[float] = []
    trainer = carrara.Torch(
        layers=layers,
        batch_rows=size,
        epochs=epochs,
        early_stopping=epochs,
        dropout=0.0,
        device=device,
        precision=precision,
    )
    names = tuple(f"f{number}" for number in range(COLUMNS))
    task = Task("binary", names, report=lambda number, loss: ended.append(time.perf_counter()))
    ready = _ready(trainer, train, task)
    net = _TorchNet(ready, trainer, task, Group(ready, torch_device(ready, device)))
    started = time.perf_counter()
    _, curve = run_epochs(trainer, net, train, held, task)
    epoch = min((later - sooner for sooner, later in pairwise(ended)), default=ended[0] - started)
    return {
        "device": device,
        "epoch_seconds": round(epoch, 3),
        "million_rows_a_second": round(len(train.labels) / epoch / 1e6, 2),
        "losses": [round(loss, 6) for loss in curve["validation"]],
    }


def _speed(part: Part, size: int, device: Any, holds: bool) -> float:
    """Rows a second to the device, the fastest of three epochs after the first one."""
    feed, best = Feed(torch, device, holds=holds), 0.0
    for epoch in range(4):
        started, seen = time.perf_counter(), 0
        for batch in feed.batches(part, batches(part, size, seed=0, epoch=epoch)):
            seen += len(batch.labels)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        assert seen == len(part.labels)
        best = max(best, seen / (time.perf_counter() - started) if epoch else 0.0)
    return best


def _part(rows: int, seed: int) -> Part:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    signal = features[:, 0] * features[:, 1] + features[:, 2] + random.normal(0, 0.5, rows)
    return Part(features, (signal > 0).astype(np.float32))


def _say(what: str, **told: Any) -> None:
    print(json.dumps({"measured": what, **told}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    main(given.rows, given.epochs, given.device)
