"""What trainers of neural nets share: the shape of a net, the loop over epochs, checkpoints, and the graph.

A net takes numbers as they are, and an embedding of each column of categories; then come dense layers with ReLU and
dropout. A framework gives the steps (`Net`); the order of rows, early stopping and checkpoints are the same for all.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np

from carrara.core.errors import TrainingError
from carrara.core.plugins import require
from carrara.models.learned.net import SHAPE as NET_SHAPE
from carrara.training.feeds import batches
from carrara.training.onnx_graphs import IR_VERSION, OPSET
from carrara.training.search import Between, Space
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Fitted, Part, Task, started

_MOST_DIMENSIONS = 50


@dataclass(frozen=True)
class NetTrainer:
    """The hyper-parameters of a net: `layers` are the widths of the hidden ones, `epochs` the most passes over the
    train part; it stops when the validation loss has not fallen for `early_stopping` epochs, and the best are kept.

    It takes no missing numbers, and learns best from standardised ones; columns of a Vocabulary are embedded:
    `transforms=(carrara.Impute(), carrara.Standardise(), carrara.Vocabulary())`.
    """

    layers: tuple[int, ...] = (128, 64)
    dropout: float = 0.1
    learning_rate: float = 0.001
    weight_decay: float = 0.0001
    batch_rows: int = 1_024
    epochs: int = 30
    early_stopping: int = 3

    space: ClassVar[Mapping[str, Space]] = {
        "dropout": Between(0.0, 0.5),
        "learning_rate": Between(0.0001, 0.01, log=True),
        "weight_decay": Between(0.000001, 0.01, log=True),
        "batch_rows": Between(128, 4_096, log=True),
    }

    def spec(self) -> dict[str, Any]:
        return {**asdict(self), "layers": list(self.layers)}


@dataclass(frozen=True)
class Shape:
    """A net's columns and widths: places of numbers, and of categories with how many there are."""

    numbers: tuple[int, ...]
    categories: tuple[tuple[int, int], ...]
    layers: tuple[int, ...]
    outputs: int

    @classmethod
    def of(cls, trainer: NetTrainer, task: Task) -> Shape:
        sizes = [task.categories.get(name, 0) for name in task.names]
        return cls(
            numbers=tuple(place for place, size in enumerate(sizes) if not size),
            categories=tuple((place, size) for place, size in enumerate(sizes) if size),
            layers=trainer.layers,
            outputs=len(task.classes) or 1,
        )

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Of each embedding: half as many as there are categories, at most 50."""
        return tuple(min(_MOST_DIMENSIONS, (size + 1) // 2) for _, size in self.categories)

    @property
    def width(self) -> int:
        """Of what the first layer takes."""
        return len(self.numbers) + sum(self.dimensions)

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """What each dense layer takes and gives."""
        whole = (self.width, *self.layers, self.outputs)
        return tuple(pairwise(whole))


class Net(Protocol):
    """A net in a framework, with its optimiser."""

    def begin(self, epoch: int) -> None:
        """Seed what is random in an epoch, so that one that is begun again is the same."""

    def step(self, features: Array, labels: Array, weights: Array) -> None: ...

    def loss(self, part: Part) -> float: ...

    def end(self) -> None:
        """Called after the last step: what follows is asked of one process alone."""

    def predict(self, features: Array) -> Array:
        """Margins, float32 of shape (rows, outputs)."""

    def weights(self) -> list[Array]:
        """Embeddings, then of each dense layer the matrix (in, out) and the offsets."""

    def begin_with(self, weights: Sequence[Array]) -> None:
        """Take weights, as `weights` gives them."""

    def state(self) -> list[Array]:
        """All that a step changes."""

    def restore(self, state: Sequence[Array]) -> None: ...


def fit_net(trainer: NetTrainer, net: Net, shape: Shape, train: Part, validation: Part, task: Task) -> Fitted:
    """Epoch by epoch, from the last checkpoint where there is one, to the best weights."""
    scale = _Scale.of(train.labels, task)
    train, validation = (Part(p.features, scale.down(p.labels), p.weights) for p in (train, validation))
    curve: dict[str, list[float]] = {"train": [], "validation": []}
    if task.start:
        net.begin_with(_learned(shape, task))
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
    net.end()
    net.restore(best)
    learned = net.weights()
    return Fitted(
        predict=lambda rows: scale.up(_activated(net.predict(rows), task)),
        to_onnx=lambda: _graph(shape, learned, scale, task),
        learned={"learned.npz": _packed(learned), NET_SHAPE: _described(shape, scale)},
        importance=_importance(net, validation, task),
        curve=curve,
        summary={"parameters": sum(weight.size for weight in learned), "epochs": len(curve["train"])},
        libraries=("onnx",),
    )


def refuse_missing(train: Part, task: Task) -> None:
    """TrainingError where a column has missing numbers, with its name."""
    missing = np.asarray(np.isnan(train.features).any(axis=0))
    if missing.any():
        names = [name for name, there in zip(task.names, missing, strict=True) if there]
        raise TrainingError(
            f"this model takes no missing numbers, and there are some in: {', '.join(names[:5])}",
            hint="transforms=(carrara.Impute(), carrara.Standardise())",
        )


@dataclass(frozen=True)
class _Scale:
    """Numbers are learned standardised; other labels are as they are."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, labels: Array, task: Task) -> _Scale:
        if task.kind != "regression":
            return cls()
        return cls(float(labels.mean(dtype=np.float64)), float(labels.std(dtype=np.float64)) or 1.0)

    def down(self, labels: Array) -> Array:
        return ((labels - self.mean) / self.std).astype(np.float32)

    def up(self, scores: Array) -> Array:
        return np.asarray(scores * np.float32(self.std) + np.float32(self.mean))


def _described(shape: Shape, scale: _Scale) -> bytes:
    """What the weights are of, so that they can be read without the framework."""
    named = {"numbers": shape.numbers, "categories": shape.categories, "layers": shape.layers}
    return msgspec.json.encode({**named, "mean": scale.mean, "std": scale.std})


def _has_stopped(losses: Sequence[float], patience: int) -> bool:
    return len(losses) - 1 - int(np.argmin(losses)) >= patience if losses else False


def _activated(margins: Array, task: Task) -> Array:
    if task.kind == "multiclass":
        grown = np.exp(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))
    flat = margins[:, 0]
    return np.asarray(1 / (1 + np.exp(-flat))) if task.kind == "binary" else flat


def _importance(net: Net, validation: Part, task: Task) -> dict[str, float]:
    """By how much the loss of the first 10,000 validation rows grows where a column is shuffled (Breiman, 2001)."""
    part = Part(validation.features[:10_000].copy(), validation.labels[:10_000])
    random, whole = np.random.default_rng(task.seed), net.loss(part)
    grown = []
    for place in range(len(task.names)):
        kept = part.features[:, place].copy()
        part.features[:, place] = random.permutation(kept)
        grown.append(max(net.loss(part) - whole, 0.0))
        part.features[:, place] = kept
    total = sum(grown) or 1.0
    return {name: one / total for name, one in zip(task.names, grown, strict=True)}


def _saved(net: Net, epoch: int, curve: Mapping[str, list[float]], best: Sequence[Array]) -> bytes:
    now = net.state()
    arrays = [np.array([epoch, len(now)]), np.array(curve["train"]), np.array(curve["validation"]), *now, *best]
    return _packed(arrays)


def _resumed(net: Net, saved: bytes) -> tuple[int, dict[str, list[float]], list[Array]]:
    with np.load(io.BytesIO(saved), allow_pickle=False) as file:
        (epoch, size), train, validation, *arrays = [file[f"arr_{number}"] for number in range(len(file.files))]
    net.restore(arrays[:size])
    return int(epoch), {"train": train.tolist(), "validation": validation.tolist()}, arrays[size:]


def _learned(shape: Shape, task: Task) -> list[Array]:
    """The weights of the version that is gone on with; TrainingError where they are of another shape."""
    with np.load(io.BytesIO(started(task, "learned.npz")), allow_pickle=False) as file:
        weights = [file[f"arr_{number}"] for number in range(len(file.files))]
    tables = [(size, width) for (_, size), width in zip(shape.categories, shape.dimensions, strict=True)]
    asked = [*tables, *(one for wide, to in shape.widths for one in ((wide, to), (to,)))]
    if [weight.shape for weight in weights] != asked:
        raise TrainingError(
            "the version to go on from is of another shape",
            hint="Its layers, its columns and its vocabularies must be the same.",
        )
    return weights


def _packed(arrays: Sequence[Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    return buffer.getvalue()


def _graph(shape: Shape, weights: Sequence[Array], scale: _Scale, task: Task) -> bytes:
    onnx = require("onnx", extra="torch", purpose="the export to ONNX")
    helper, types = onnx.helper, onnx.TensorProto
    constants: dict[str, Array] = {}
    nodes: list[Any] = []

    def constant(values: Any, dtype: Any) -> str:
        name = f"constant_{len(constants)}"
        constants[name] = np.asarray(values, dtype)
        return name

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"tensor_{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    parts = []
    if shape.numbers:
        parts.append(add("Gather", FEATURES, constant(shape.numbers, np.int64), axis=1))
    for (place, size), table in zip(shape.categories, weights, strict=False):
        column = add("Gather", FEATURES, constant(place, np.int64), axis=1)
        whole = add("Clip", add("Cast", column, to=types.INT64), constant(0, np.int64), constant(size - 1, np.int64))
        parts.append(add("Gather", constant(table, np.float32), whole, axis=0))
    flow = add("Concat", *parts, axis=1)
    dense = weights[len(shape.categories) :]
    for number in range(0, len(dense), 2):
        flow = add("Gemm", flow, constant(dense[number], np.float32), constant(dense[number + 1], np.float32))
        flow = add("Relu", flow) if number + 2 < len(dense) else flow
    if task.kind == "multiclass":
        flow = add("Softmax", flow, axis=1)
    else:
        flow = add("Reshape", flow, constant([-1], np.int64))
        if task.kind == "binary":
            flow = add("Sigmoid", flow)
        else:
            flow = add("Add", add("Mul", flow, constant(scale.std, np.float32)), constant(scale.mean, np.float32))
    name = OUTPUTS[task.kind]
    nodes.append(helper.make_node("Identity", [flow], [name]))
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(FEATURES, types.FLOAT, [None, len(task.names)])],
        [helper.make_tensor_value_info(name, types.FLOAT, [None, shape.outputs] if task.classes else [None])],
        initializer=[onnx.numpy_helper.from_array(values, key) for key, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))
