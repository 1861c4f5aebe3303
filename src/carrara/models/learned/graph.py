"""The numbers of a graph in ONNX: what a graph of one's own, or one that was imported, has learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.core.plugins import require
from carrara.models.learned.forest import Array
from carrara.models.learned.net import layers_of

FILE = "model.onnx"


def told_graph(learned: Mapping[str, bytes]) -> dict[str, Any] | None:
    """The tensors of the graph among the learned files, and the lists of numbers in its nodes, by their names; None
    where there is no graph. DataError for what is none."""
    if FILE not in learned:
        return None
    onnx = require("onnx", extra="mlflow", purpose="the numbers of a graph in ONNX")
    try:
        graph = onnx.load_model_from_string(learned[FILE]).graph
        named = [(name, values) for name, values in _numbers(onnx, graph) if values.size and values.dtype.kind in "fiu"]
    except Exception as error:  # protobuf's errors are those of the implementation that is installed
        raise DataError(f"{FILE} is no graph of ONNX: {error}") from error
    return {**layers_of(named), "kind": "graph"}


def _numbers(onnx: Any, graph: Any) -> Iterator[tuple[str, Array]]:
    for tensor in graph.initializer:
        yield tensor.name, onnx.numpy_helper.to_array(tensor)
    for node in graph.node:
        for one in node.attribute:
            name = f"{node.name or node.op_type} {one.name}"
            if one.HasField("t"):
                yield name, onnx.numpy_helper.to_array(one.t)
            elif one.floats:
                yield name, np.array(one.floats, np.float32)
