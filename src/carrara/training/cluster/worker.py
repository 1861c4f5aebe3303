"""A worker of a net that several processes train: `python -m carrara.training.cluster.worker FOLDER`.

The folder holds the matrices and the task. The worker takes every step that rank 0 takes, on its own share of the rows,
and ends when rank 0 has what it wants.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from carrara.training.checkpoints import NoCheckpoint
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.nets import NetTrainer

_TASK, _CHECKPOINT, _START = "task.json", "checkpoint", "start"


@dataclass(frozen=True)
class _Given(NoCheckpoint):
    """The checkpoint that rank 0 goes on from; it alone writes the next ones."""

    path: Path

    def read(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None


def write_work(folder: Path, trainer: NetTrainer, train: Part, validation: Part, task: Task) -> Task:
    """Write down what workers need, and return the task that rank 0 has, with the same beginning."""
    for name, part in (("train", train), ("validation", validation)):
        for field, values in vars(part).items():
            if values is not None:
                np.save(folder / f"{name}.{field}.npy", values, allow_pickle=False)
    told = {name: getattr(task, name) for name in ("kind", "names", "classes", "categories", "seed")}
    (folder / _TASK).write_bytes(msgspec.json.encode({"trainer": asdict(trainer), "task": told}))
    if (saved := task.checkpoint.read()) is not None:
        (folder / _CHECKPOINT).write_bytes(saved)
    (folder / _START).mkdir()
    for name, data in task.start.items():
        (folder / _START / name.replace("/", "_")).write_bytes(data)
    return task


def read_work(folder: Path) -> tuple[Mapping[str, Any], Part, Part, Task]:
    """The hyper-parameters, both parts (read as they are needed), and the task."""
    told = msgspec.json.decode((folder / _TASK).read_bytes())
    parts = []
    for name in ("train", "validation"):
        arrays = {path.name.split(".")[1]: np.load(path, mmap_mode="r") for path in folder.glob(f"{name}.*.npy")}
        parts.append(Part(**arrays))
    task = {**told["task"], "names": tuple(told["task"]["names"]), "classes": tuple(told["task"]["classes"])}
    start = {path.name: path.read_bytes() for path in (folder / _START).iterdir()}
    trainer = {**told["trainer"], "layers": tuple(told["trainer"]["layers"])}
    return trainer, parts[0], parts[1], Task(**task, checkpoint=_Given(folder / _CHECKPOINT), start=start)


if __name__ == "__main__":
    from carrara.training.trainers.torch import Torch, join

    hyper_parameters, train_part, validation_part, its_task = read_work(Path(sys.argv[1]))
    join(Torch(**hyper_parameters), train_part, validation_part, its_task, rank=int(os.environ["RANK"]))
