"""The loop that trains a net: epoch by epoch, from the last checkpoint where there is one, to the best weights.

A framework gives the steps (`Net`); the order of rows, early stopping and checkpoints are the same for all, and for one
process or several.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from carrara.core.errors import TrainingError
from carrara.training.feeds import batches
from carrara.training.trainers.base import Array, Part, Task, started
from carrara.training.trainers.shape import Shape

MARGINS = "margins"
"""The output of a net's graph: float32 of shape (rows, outputs), before a probability or a number is made of it."""

Curve = dict[str, list[float]]


class Epochs(Protocol):
    """The hyper-parameters of the loop."""

    @property
    def epochs(self) -> int: ...

    @property
    def batch_rows(self) -> int: ...

    @property
    def early_stopping(self) -> int: ...


class Net(Protocol):
    """A net in a framework, with its optimiser; `shape` is that of dense layers, or None."""

    shape: Shape | None

    def begin(self, epoch: int) -> None:
        """Seed what is random in an epoch, so that one that is begun again is the same."""

    def step(self, features: Array, labels: Array, weights: Array) -> None: ...

    def loss(self, part: Part) -> float: ...

    def predict(self, features: Array) -> Array:
        """Margins, float32 of shape (rows, outputs)."""

    def weights(self) -> list[Array]:
        """What is learned; of a net of dense layers embeddings, then of each layer the matrix (in, out) and offsets."""

    def begin_with(self, weights: Sequence[Array]) -> None:
        """Take weights, as `weights` gives them."""

    def state(self) -> list[Array]:
        """All that a step changes."""

    def restore(self, state: Sequence[Array]) -> None: ...

    def graph(self) -> bytes:
        """An ONNX model from FEATURES to MARGINS, of what `weights` are now. Raises where there is none."""


@dataclass(frozen=True)
class Scale:
    """Numbers are learned standardised; other labels are as they are."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, labels: Array, task: Task) -> Scale:
        if task.kind != "regression":
            return cls()
        return cls(float(labels.mean(dtype=np.float64)), float(labels.std(dtype=np.float64)) or 1.0)

    def down(self, labels: Array) -> Array:
        return ((labels - self.mean) / self.std).astype(np.float32)

    def up(self, scores: Array) -> Array:
        return np.asarray(scores * np.float32(self.std) + np.float32(self.mean))


def run_epochs(trainer: Epochs, net: Net, train: Part, validation: Part, task: Task) -> tuple[Scale, Curve]:
    """Train until the loss no longer falls, and leave the net with its best weights; the losses of each epoch."""
    scale = Scale.of(train.labels, task)
    train, validation = (Part(p.features, scale.down(p.labels), p.weights) for p in (train, validation))
    curve: Curve = {"train": [], "validation": []}
    if task.start:
        net.begin_with(_learned(net, task))
    best, done = net.state(), 0
    if (saved := task.checkpoint.read()) is not None:
        done, curve, best = _resumed(net, saved)
    for epoch in range(done + 1, trainer.epochs + 1):
        if _has_stopped(curve["validation"], trainer.early_stopping):
            break
        net.begin(epoch)
        for rows in batches(train, trainer.batch_rows, seed=task.seed, epoch=epoch):
            weights = np.ones(len(rows), np.float32) if train.weights is None else train.weights[rows]
            net.step(train.features[rows], train.labels[rows], weights)
        curve["train"].append(net.loss(train))
        curve["validation"].append(net.loss(validation))
        loss = curve["validation"][-1]
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} after epoch {epoch}",
                hint="Standardise the features, or take a smaller learning_rate.",
            )
        best = net.state() if loss <= min(curve["validation"]) else best
        task.checkpoint.write(_saved(net, epoch, curve, best))
        task.advance(epoch, trainer.epochs)
        task.report(epoch, loss)
    net.restore(best)
    return scale, curve


def _has_stopped(losses: Sequence[float], patience: int) -> bool:
    return len(losses) - 1 - int(np.argmin(losses)) >= patience if losses else False


def _saved(net: Net, epoch: int, curve: Curve, best: Sequence[Array]) -> bytes:
    now = net.state()
    arrays = [np.array([epoch, len(now)]), np.array(curve["train"]), np.array(curve["validation"]), *now, *best]
    return packed(arrays)


def _resumed(net: Net, saved: bytes) -> tuple[int, Curve, list[Array]]:
    with np.load(io.BytesIO(saved), allow_pickle=False) as file:
        (epoch, size), train, validation, *arrays = [file[f"arr_{number}"] for number in range(len(file.files))]
    net.restore(arrays[:size])
    return int(epoch), {"train": train.tolist(), "validation": validation.tolist()}, arrays[size:]


def _learned(net: Net, task: Task) -> list[Array]:
    """The weights of the version that is gone on with; TrainingError where they are of another shape."""
    with np.load(io.BytesIO(started(task, "learned.npz")), allow_pickle=False) as file:
        weights = [file[f"arr_{number}"] for number in range(len(file.files))]
    if [weight.shape for weight in weights] != [weight.shape for weight in net.weights()]:
        raise TrainingError(
            "the version to go on from is of another shape",
            hint="Its layers, its columns and its vocabularies must be the same.",
        )
    return weights


def packed(arrays: Sequence[Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    return buffer.getvalue()
