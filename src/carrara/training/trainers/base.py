"""The protocol of a trainer.

To add one: a frozen dataclass of hyper-parameters with these members, in a file of its own, named in the
entry-point group `carrara.trainers`. Import the library inside `fit`, with `core.plugins.require`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from carrara.core.errors import TrainingError
from carrara.evaluation.metrics import Kind
from carrara.models.signature import TensorSpec
from carrara.training.checkpoints import Checkpoint, NoCheckpoint
from carrara.training.cluster.team import ALONE, Team

Array = np.ndarray[Any, Any]

OUTPUTS: Mapping[Kind, str] = {
    "binary": "probability",
    "multiclass": "probabilities",
    "regression": "prediction",
    "multilabel": "probabilities",
    "ranking": "score",
    "clustering": "distances",
}
"""What a model gives: the probability of true, of shape (rows,), or of each class or each of several labels, (rows,
classes), or a number, or what items are ordered by, or the distance to each cluster's centre, (rows, clusters)."""

FEATURES = "features"
"""The input of a trainer's ONNX graph: float32 of shape (rows, features)."""


_ROWS_AT_ONCE = 100_000

MOST_IN_MEMORY = 250_000_000
"""How many numbers a matrix in memory has at most: a gigabyte of float32."""


@dataclass(frozen=True)
class Part:
    """One part of a training set: `features` float32 of shape (rows, features), in a file where they are more than
    MOST_IN_MEMORY; `labels` float32 of shape (rows,): 0 and 1, places of classes, or numbers, and of several labels 0
    and 1 of shape (rows, labels); `weights` float32 of shape (rows,), or None where all rows count the same; `groups`
    int64 of shape (rows,), the query of each row of a ranking."""

    features: Array
    labels: Array
    weights: Array | None = None
    groups: Array | None = None


@dataclass(frozen=True)
class Task:
    """What is to be learned: the kind of label, the columns' names, and the classes where there are several.

    `categories` are the columns that hold places of categories, 0, 1, …, with how many there are, for trainers that
    embed them. `advance(done, total)` tells how far a fit is, `report(round, loss)` the validation loss after a round;
    it raises Pruned where the fit is not worth its end, and a trainer lets that through. `checkpoint` keeps the state
    of long fits; `start` is what an earlier version has learned, to go on from, and empty where there is none.
    `measured(name, step, value)` takes whatever else a fit measures, `paced(round, figures)` how long its steps took;
    a trainer may write into the folder `logs` what TensorBoard is to show.
    The processes of `team` share the work, where a trainer is a `DistributedTrainer`; `tell` says to people what
    happened meanwhile, `log` takes what the processes say. In `folder` there is room for large files. `shapes` are
    those of the features that are arrays: each is as many columns, row by row. `computed` takes what a record tells of
    the device that a fit computes on; where the team's processes have `trained` it, the checkpoint is the end. `spark`
    is the master of the Spark that its trainers run on; by default that of the session that runs, or this machine.
    """

    kind: Kind
    names: tuple[str, ...]
    classes: tuple[str, ...] = ()
    categories: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    advance: Callable[[int, int], None] = lambda done, total: None
    report: Callable[[int, float], None] = lambda number, loss: None
    measured: Callable[[str, int, float], None] = lambda name, step, value: None
    paced: Callable[[int, Mapping[str, float]], None] = lambda number, figures: None
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    start: Mapping[str, bytes] = field(default_factory=dict)
    team: Team = ALONE
    tell: Callable[[str], None] = lambda text: None
    log: Callable[[str], None] = lambda text: None
    folder: Path | None = None
    logs: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    computed: Callable[[Mapping[str, Any]], None] = lambda device: None
    trained: bool = False
    spark: str = ""

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for a row: one for each class, or one."""
        return len(self.classes) or 1


def started(task: Task, file: str) -> bytes:
    """A file of what an earlier version has learned; TrainingError where it has none, being of another trainer."""
    if file not in task.start:
        raise TrainingError(
            f"the version to go on from has no {file}, but {', '.join(task.start)}",
            hint="A trainer goes on from a version of its own.",
        )
    return task.start[file]


_IMPUTED = "transforms=(carrara.Impute(), carrara.Standardise())"


def refuse_missing(train: Part, task: Task, who: str = "this model", *, hint: str = _IMPUTED) -> None:
    """TrainingError where there are missing numbers, which `who` takes none of."""
    missing = np.zeros(train.features.shape[1], np.bool_)
    for start in range(0, len(train.features), _ROWS_AT_ONCE):
        missing |= np.isnan(train.features[start : start + _ROWS_AT_ONCE]).any(axis=0)
    if missing.any():
        names = [name for name, there in zip(task.names, missing, strict=True) if there]
        raise TrainingError(f"{who} takes no missing numbers, and there are some in: {', '.join(names[:5])}", hint=hint)


class Pruned(Exception):
    """Raised by `Task.report` where a fit is not worth its end."""


@dataclass(frozen=True)
class Fitted:
    """What a trainer gives back.

    `predict` scores rows of features as the trainer's own object does, in the shape of the kind's output. `to_onnx`
    makes the graph from FEATURES to that output, and raises where there is none; `native` are the files of the
    runtime called `format`, for a model without an equal graph, and empty where only the graph can be kept; `to_native`
    makes them where they are dear to make. `to_whole`, where it is there, makes what is kept in the place of a graph:
    files of `format` that take a model's inputs themselves, and hold the graph of its transforms. `edges`
    are rows of features at which the model's answer jumps, for the proof. `learned` holds the full learned parameters
    in a form that needs no framework; `importance` is each column's share (sum 1); `curve` the loss of each round;
    `libraries` what made it. `classes` are the columns of the output where the task knows of none, and `outputs` what
    the graph gives beside it.
    """

    predict: Callable[[Array], Array]
    to_onnx: Callable[[], bytes]
    learned: Mapping[str, bytes]
    importance: Mapping[str, float]
    libraries: tuple[str, ...]
    format: str = "onnx"
    native: Mapping[str, bytes] = field(default_factory=dict)
    to_native: Callable[[], Mapping[str, bytes]] | None = None
    to_whole: Callable[[Sequence[TensorSpec], bytes | None], Mapping[str, bytes]] | None = None
    edges: Array | None = None
    curve: Mapping[str, list[float]] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class Trainer(Protocol):
    """Hyper-parameters that can be fitted; `kinds`, where a trainer has it, are the kinds of label that it learns."""

    @property
    def name(self) -> str: ...

    def spec(self) -> dict[str, Any]:
        """The hyper-parameters as plain data."""

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        """Fit on `train`, and stop by `validation`. Raises TrainingError for what it cannot learn."""


class DistributedTrainer(Trainer, Protocol):
    """A trainer whose fit several processes can share."""

    def join(self, train: Part, validation: Part, task: Task) -> None:
        """Take part, as the process that `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` and `TF_CONFIG` name.

        All are given the whole parts, and take their share of the rows. Rank 0 leaves in `task.checkpoint` what `fit`
        goes on from, and needs no more than that.
        """

    def measure(self, train: Part, validation: Part, task: Task) -> None:
        """Be the evaluator, of a trainer that knows parameter servers: measure the states that rank 0 sends."""
