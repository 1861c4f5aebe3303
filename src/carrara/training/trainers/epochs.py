"""The loop that trains a net: epoch by epoch, from the last checkpoint where there is one, to the best weights.

A framework gives the steps (`Net`); the order of rows, early stopping and checkpoints are the same for all, and for one
process or several.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from carrara.core.errors import TrainingError
from carrara.training.feeds import batches
from carrara.training.stopwatch import Stopwatch
from carrara.training.trainers.base import Array, Part, Task
from carrara.training.trainers.layers import taken
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

    @property
    def take(self) -> tuple[str, ...]: ...


class Net(Protocol):
    """A net in a framework, with its optimiser; `shape` is that of dense layers, or None, `format` the runtime of its
    native form, and `watch` takes the time of its steps."""

    shape: Shape | None
    format: str
    watch: Stopwatch

    def begin(self, epoch: int) -> None:
        """Seed what is random in an epoch, so that one that is begun again is the same."""

    def learn(self, part: Part, orders: Iterable[Array]) -> None:
        """Take a step with each of some batches of rows, by their places."""

    def loss(self, part: Part) -> float: ...

    def to_cpu(self) -> None:
        """Leave an accelerator: what is exported and proved is computed as it will be served."""

    def predict(self, features: Array) -> Array:
        """Margins, float32 of shape (rows, outputs)."""

    def weights(self) -> list[Array]:
        """What is learned; of a net of dense layers embeddings, then of each layer the matrix (in, out) and offsets."""

    def names(self) -> list[str]:
        """How each of the weights is called: of a net of dense layers by its shape, else by the framework."""

    def begin_with(self, weights: Sequence[Array]) -> None:
        """Take weights, as `weights` gives them."""

    def state(self) -> list[Array]:
        """All that a step changes."""

    def restore(self, state: Sequence[Array]) -> None: ...

    def graph(self) -> bytes:
        """An ONNX model from FEATURES to MARGINS, of what `weights` are now. Raises where there is none."""

    def native(self, scale: Scale) -> Mapping[str, bytes]:
        """The files of the framework's own form, from FEATURES to the kind's output."""


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


class Measures(Protocol):
    """Who measures the losses of a state, while the net is trained on."""

    def ask(self, state: Sequence[Array]) -> None: ...

    def answer(self) -> tuple[float, float]:
        """Of the state that was asked for: the losses of the train and the validation part."""


def run_epochs(
    trainer: Epochs, net: Net, train: Part, validation: Part, task: Task, evaluator: Measures | None = None
) -> tuple[Scale, Curve]:
    """Train until the loss no longer falls, and leave the net with its best weights; the losses of each epoch.

    An `evaluator` measures an epoch while the next one is trained, so that one stops an epoch later.
    """
    scale, train, validation = scaled(train, validation, task)
    course = _Course(trainer, net, task)
    asked: tuple[int, list[Array]] | None = None
    for epoch in range(course.done + 1, trainer.epochs + 1):
        if _has_stopped(course.curve["validation"], trainer.early_stopping):
            break
        net.begin(epoch)
        net.learn(train, batches(train, trainer.batch_rows, seed=task.seed, epoch=epoch))
        task.paced(epoch, net.watch.taken())
        if evaluator is None:
            losses = net.loss(train), net.loss(validation)
            course.take(epoch, net.state(), losses)
            continue
        if asked is not None:
            course.take(*asked, evaluator.answer())
        asked = epoch, net.state()
        evaluator.ask(asked[1])
    if asked is not None and evaluator is not None:
        course.take(*asked, evaluator.answer())
    net.restore(course.best)
    return scale, course.curve


def scaled(train: Part, validation: Part, task: Task) -> tuple[Scale, Part, Part]:
    """Both parts with labels as a net learns them."""
    scale = Scale.of(train.labels, task)

    def down(part: Part) -> Part:
        return Part(part.features, scale.down(part.labels), part.weights)

    return scale, down(train), down(validation)


class _Course:
    """How far a fit is: the losses of each epoch that is `done`, and the `best` state; it begins where the checkpoint
    ends."""

    def __init__(self, trainer: Epochs, net: Net, task: Task) -> None:
        self._trainer, self._task = trainer, task
        self.curve: Curve = {"train": [], "validation": []}
        if task.start:
            net.begin_with(taken(trainer.take, net.names(), net.weights(), task))
        self.best, self.done = net.state(), 0
        if (saved := task.checkpoint.read()) is not None:
            self.done, self.curve, self.best = _resumed(net, saved)

    def take(self, epoch: int, state: Sequence[Array], losses: tuple[float, float]) -> None:
        """Take down an epoch, and keep it. TrainingError for a loss that is no number."""
        loss = losses[1]
        self.curve["train"].append(losses[0])
        self.curve["validation"].append(loss)
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} after epoch {epoch}",
                hint="Standardise the features, or take a smaller learning_rate.",
            )
        if loss <= min(self.curve["validation"]):
            self.best = list(state)
        self._task.checkpoint.write(_saved(epoch, self.curve, state, self.best))
        self._task.advance(epoch, self._trainer.epochs)
        self._task.measured("train loss", epoch, losses[0])
        self._task.report(epoch, loss)


def _has_stopped(losses: Sequence[float], patience: int) -> bool:
    return len(losses) - 1 - int(np.argmin(losses)) >= patience if losses else False


def _saved(epoch: int, curve: Curve, now: Sequence[Array], best: Sequence[Array]) -> bytes:
    arrays = [np.array([epoch, len(now)]), np.array(curve["train"]), np.array(curve["validation"]), *now, *best]
    return packed(arrays)


def _resumed(net: Net, saved: bytes) -> tuple[int, Curve, list[Array]]:
    with np.load(io.BytesIO(saved), allow_pickle=False) as file:
        (epoch, size), train, validation, *arrays = [file[f"arr_{number}"] for number in range(len(file.files))]
    net.restore(arrays[:size])
    return int(epoch), {"train": train.tolist(), "validation": validation.tolist()}, arrays[size:]


def packed(arrays: Sequence[Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    return buffer.getvalue()
