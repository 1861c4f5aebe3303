"""Stages: the scores of other models as columns of a model's matrix, computed in its own graph."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.core.plugins import require
from carrara.models.signature import Signature
from carrara.training.onnx_graphs import OPSET
from carrara.training.transforms.graph import Column, Graph


@dataclass(frozen=True)
class Fold:
    """A fit of another model on what was known at `begin` alone: its graph scores the rows from then on, until the next
    fold begins."""

    begin: datetime
    graph: bytes


@dataclass(frozen=True)
class Stage:
    """A version of another model that is read: its address, its ONNX graph, its signature and the names of its classes.

    The first output of the signature is the score. `borrowed` are those of its features that the model which reads it
    does not list itself. Rows that it has learned from, `until` a time, are scored by its `folds`, oldest first, in
    training; where there are none, such rows are left out.
    """

    address: str
    graph: bytes
    signature: Signature
    classes: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    until: datetime | None = None
    folds: tuple[Fold, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.signature.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns: the score, or one for each class."""
        name = f"{self.address}:{self.signature.outputs[0].name}"
        return tuple(f"{name}={label}" for label in self.classes) if self.classes else (name,)

    def column(self, graph: Graph, matrix: str, numbers: list[int]) -> Column:
        """The score as a column of a graph, whose input `matrix` has the stage's own in the places `numbers`, and whose
        texts are inputs by their names."""
        onnx = require("onnx", extra="xgboost", purpose="a model that reads another one's score")
        model = _of_opset(onnx, self)
        prefix = f"{self.address}/"
        texts = {spec.name for spec in self.signature.inputs if spec.dtype == "string"}
        taken = graph.add("Gather", matrix, graph.constant(numbers, np.int64), axis=1) if numbers else ""
        tensors = {one.name: one.name if one.name in texts else taken for one in model.graph.input}

        def renamed(name: str) -> str:
            return tensors.get(name, prefix + name) if name else ""

        for constant in model.graph.initializer:
            constant.name = prefix + constant.name
            graph.constants[constant.name] = constant
        for node in model.graph.node:
            node.input[:] = [renamed(name) for name in node.input]
            node.output[:] = [renamed(name) for name in node.output]
            node.name = prefix + node.name if node.name else ""
            graph.nodes.append(node)
        score = prefix + self.signature.outputs[0].name
        if not self.classes:
            score = graph.add("Unsqueeze", score, graph.constant([1], np.int64))
        return Column(score, self.names, self.features)


def _of_opset(onnx: Any, stage: Stage) -> Any:
    model = onnx.load_from_string(stage.graph)
    version = next((one.version for one in model.opset_import if not one.domain), OPSET)
    if version == OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except RuntimeError as error:
        raise TrainingError(f"the graph of {stage.address} cannot be read by another model: {error}") from error
