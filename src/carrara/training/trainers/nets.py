"""What trainers of neural nets share: their hyper-parameters, and what is made of a net that was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import msgspec
import numpy as np

from carrara.core.digests import digest_function
from carrara.core.errors import DefinitionError
from carrara.evaluation.metrics import Kind
from carrara.models.learned.net import NAMES, SHAPE as NET_SHAPE
from carrara.models.signature import TensorSpec
from carrara.training.search import Between, Space
from carrara.training.trainers.base import Array, Fitted, Part, Task
from carrara.training.trainers.blocks import blocks_of
from carrara.training.trainers.device import check_device
from carrara.training.trainers.epochs import MARGINS, Net, Scale, packed, run_epochs
from carrara.training.trainers.net_graph import answer_graph
from carrara.training.transforms.graph import joined

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class NetTrainer:
    """The hyper-parameters of a net: `layers` are the widths of the hidden ones, `epochs` the most passes over the
    train part; it stops when the validation loss has not fallen for `early_stopping` epochs, and the best are kept.

    `device` is "auto", an accelerator where there is one, "cpu", "cuda", "cuda:1" or "mps"; the export is always of the
    CPU. A batch is learned in `accumulate` parts whose gradients are added up, to take less memory. Of a version that
    is gone on from, weights are taken whose names fit one of `take`, by default all, and those that fit one of `freeze`
    stay as they are: `take=("embedding *", "dense 1*"), freeze=("embedding *",)`. `build` is an architecture of your
    own, in the place of `layers` and `dropout`; see docs/training.md.
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
    build: Callable[..., Any] | None = None
    device: str = "auto"
    accumulate: int = 1
    take: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()

    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression", "multilabel")
    space: ClassVar[Mapping[str, Space]] = {
        "dropout": Between(0.0, 0.5),
        "learning_rate": Between(0.0001, 0.01, log=True),
        "weight_decay": Between(0.000001, 0.01, log=True),
        "batch_rows": Between(128, 4_096, log=True),
    }

    def __post_init__(self) -> None:
        check_device(self.device)
        if not 1 <= self.accumulate <= self.batch_rows:
            raise DefinitionError(
                f"accumulate={self.accumulate} divides no batch of {self.batch_rows:,} rows",
                hint="1 is a batch at once.",
            )

    def spec(self) -> dict[str, Any]:
        found = {**asdict(self), "layers": list(self.layers)}
        # What was trained before there were accelerators keeps its digest.
        since = {
            "build": None,
            "device": "auto",
            "precision": "float32",
            "deterministic": True,
            "export": "onnx",
            "accumulate": 1,
            "take": (),
            "freeze": (),
        }
        told = {name: value for name, value in found.items() if name not in since or value != since[name]}
        return told if self.build is None else {**told, "build": digest_function(self.build)}


Whole = Callable[[Scale, Sequence[TensorSpec], bytes | None], Mapping[str, bytes]]
"""The files of a framework's own form that takes a model's inputs, with the graph of its transforms inside."""


def fit_net(
    trainer: NetTrainer, net: Net, train: Part, validation: Part, task: Task, whole: Whole | None = None
) -> Fitted:
    """Train a net, and tell of it; where `whole` is given, it makes what is served."""
    scale, curve = run_epochs(trainer, net, train, validation, task)
    net.to_cpu()
    learned = net.weights()
    return Fitted(
        predict=lambda rows: scale.up(_activated(net.predict(rows), task)),
        to_onnx=lambda: joined(net.graph(), answer_graph(scale, task), MARGINS, "net/"),
        format=net.format,
        to_native=lambda: net.native(scale),
        to_whole=None if whole is None else partial(whole, scale),
        learned={"learned.npz": packed(learned), **_described(net, scale)},
        importance=_importance(net, Part(validation.features, scale.down(validation.labels)), task),
        curve=curve,
        summary={"parameters": sum(weight.size for weight in learned), "epochs": len(curve["train"])},
        libraries=("onnx",),
    )


def _described(net: Net, scale: Scale) -> dict[str, bytes]:
    """What the weights are of, so that they can be read without the framework."""
    shape = net.shape
    if shape is None:
        return {NAMES: msgspec.json.encode(net.names())}
    named = {"numbers": shape.numbers, "categories": shape.categories, "layers": shape.layers}
    return {NET_SHAPE: msgspec.json.encode({**named, "mean": scale.mean, "std": scale.std})}


def _activated(margins: Array, task: Task) -> Array:
    if task.kind == "multiclass":
        grown = np.exp(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))
    if task.kind == "multilabel":
        return np.asarray(1 / (1 + np.exp(-margins)))
    flat = margins[:, 0]
    return np.asarray(1 / (1 + np.exp(-flat))) if task.kind == "binary" else flat


def _importance(net: Net, validation: Part, task: Task) -> dict[str, float]:
    """By how much the loss of the first 10,000 validation rows grows where a column is shuffled (Breiman, 2001), or an
    array, of which each column has the same share."""
    part = Part(validation.features[:10_000].copy(), validation.labels[:10_000])
    random, whole = np.random.default_rng(task.seed), net.loss(part)
    grown = np.zeros(len(task.names))
    for places in _shuffled(task):
        kept = part.features[:, places].copy()
        part.features[:, places] = random.permutation(kept)
        grown[places] = max(net.loss(part) - whole, 0.0) / len(places)
        part.features[:, places] = kept
    shares = grown / (grown.sum() or 1.0)
    return dict(zip(task.names, shares.tolist(), strict=True))


def _shuffled(task: Task) -> list[list[int]]:
    """The places of the matrix that are shuffled together, in the order of the columns."""
    arrays = [list(blocks_of(task)[name].places) for name in task.shapes]
    inside = {place for places in arrays for place in places}
    return sorted([*arrays, *([place] for place in range(len(task.names)) if place not in inside)])
