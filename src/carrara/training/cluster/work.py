"""The work of a fit that several processes share, as files: the parts' matrices, the trainer, the task."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from carrara.core.definitions import load_function
from carrara.core.errors import TrainingError
from carrara.core.plugins import plugin
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.trainers.base import Part, Task, Trainer

CHECKPOINT = "checkpoint"
"""The file that rank 0 keeps its checkpoint in."""

_TASK, _START = "task.json", "start"


def write_work(folder: Path, trainer: Trainer, train: Part, validation: Part, task: Task) -> None:
    """Write down what each process needs. Raises TrainingError for a function that another process could not have."""
    for name, part in (("train", train), ("validation", validation)):
        for field, values in vars(part).items():
            if values is not None:
                np.save(folder / f"{name}.{field}.npy", values, allow_pickle=False)
    told = {name: getattr(task, name) for name in ("kind", "names", "classes", "categories", "shapes", "seed")}
    work = {"trainer": _described(trainer), "task": told, "path": sys.path}
    (folder / _TASK).write_bytes(msgspec.json.encode(work))
    if (saved := task.checkpoint.read()) is not None:
        FileCheckpoint(folder / CHECKPOINT).write(saved)
    (folder / _START).mkdir()
    for name, data in task.start.items():
        (folder / _START / name.replace("/", "_")).write_bytes(data)


def read_work(folder: Path) -> tuple[Any, Part, Part, Task]:
    """The trainer, both parts (read as they are needed), and the task."""
    told = msgspec.json.decode((folder / _TASK).read_bytes())
    sys.path[:] = told["path"]
    parts = []
    for name in ("train", "validation"):
        arrays = {path.name.split(".")[1]: np.load(path, mmap_mode="r") for path in folder.glob(f"{name}.*.npy")}
        parts.append(Part(**arrays))
    task: dict[str, Any] = {name: _tuple(value) for name, value in told["task"].items()}
    task["shapes"] = {name: tuple(shape) for name, shape in task["shapes"].items()}
    start = {path.name: path.read_bytes() for path in (folder / _START).iterdir()}
    checkpoint = FileCheckpoint(folder / CHECKPOINT)
    return _restored(told["trainer"]), parts[0], parts[1], Task(**task, checkpoint=checkpoint, start=start)


def _described(trainer: Any) -> dict[str, Any]:
    values = {field.name: getattr(trainer, field.name) for field in fields(trainer)}
    functions = {name: _source(value) for name, value in values.items() if callable(value)}
    plain = {name: value for name, value in values.items() if name not in functions}
    return {"name": trainer.name, "fields": plain, "functions": functions}


def _restored(told: Mapping[str, Any]) -> Any:
    values = {name: _tuple(value) for name, value in told["fields"].items()}
    functions = {name: load_function(**source) for name, source in told["functions"].items()}
    return plugin("carrara.trainers", told["name"], kind="trainer")(**values, **functions)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _source(function: Callable[..., Any]) -> dict[str, str]:
    """The file of a function, by its text: where it comes from may be a record, which no other process has."""
    name, place = function.__qualname__, function.__code__.co_filename
    text = "".join(linecache.getlines(place))
    if "<" in name or not text or place.startswith("<ipython"):
        raise TrainingError(
            f"the function '{name}' is not at the top of a file, so that other processes cannot have it",
            hint="Write it into a definitions file, or train without --workers.",
        )
    return {"place": place, "text": text, "name": name}
