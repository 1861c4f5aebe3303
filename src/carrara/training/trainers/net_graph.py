"""The ONNX graphs of nets: of dense layers with embeddings, and of what makes an answer of a net's margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.training.onnx_graphs import IR_VERSION, OPSET
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Task
from carrara.training.trainers.epochs import MARGINS, Scale
from carrara.training.trainers.shape import Shape


class _Nodes:
    def __init__(self) -> None:
        self.onnx = require("onnx", extra="torch", purpose="the export to ONNX")
        self._constants: dict[str, Array] = {}
        self._nodes: list[Any] = []

    def constant(self, values: Any, dtype: Any) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(values, dtype)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"tensor_{len(self._nodes)}"
        self._nodes.append(self.onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def model(self, source: tuple[str, int], tensor: str, output: tuple[str, list[int | None]]) -> bytes:
        """From float32 of so many columns to `tensor`, by the output's name and shape."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        named = helper.make_node("Identity", [tensor], [output[0]])
        graph = helper.make_graph(
            [*self._nodes, named],
            "model",
            [helper.make_tensor_value_info(source[0], types.FLOAT, [None, source[1]])],
            [helper.make_tensor_value_info(output[0], types.FLOAT, output[1])],
            initializer=[self.onnx.numpy_helper.from_array(values, key) for key, values in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))


def dense_graph(shape: Shape, weights: Sequence[Array], columns: int) -> bytes:
    """From FEATURES to MARGINS."""
    nodes, types = _Nodes(), require("onnx", extra="torch", purpose="the export to ONNX").TensorProto
    add, constant = nodes.add, nodes.constant
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
    return nodes.model((FEATURES, columns), flow, (MARGINS, [None, shape.outputs]))


def answer_graph(scale: Scale, task: Task) -> bytes:
    """From MARGINS to the output of the task's kind."""
    nodes, outputs = _Nodes(), task.outputs
    add, constant = nodes.add, nodes.constant
    if task.kind == "multiclass":
        flow = add("Softmax", MARGINS, axis=1)
    elif task.kind == "multilabel":
        flow = add("Sigmoid", MARGINS)
    else:
        flow = add("Reshape", MARGINS, constant([-1], np.int64))
        if task.kind == "binary":
            flow = add("Sigmoid", flow)
        else:
            flow = add("Add", add("Mul", flow, constant(scale.std, np.float32)), constant(scale.mean, np.float32))
    return nodes.model((MARGINS, outputs), flow, (OUTPUTS[task.kind], [None, outputs] if task.classes else [None]))
