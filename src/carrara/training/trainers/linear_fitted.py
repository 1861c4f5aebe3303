"""A linear model of any trainer: what it gives back, and its ONNX graph."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from carrara.core.plugins import require
from carrara.training.onnx_graphs import IR_VERSION, OPSET
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Fitted, Task


def fitted_linear(
    predict: Callable[[Array], Array],
    weights: Array,
    intercepts: Array,
    spread: Array,
    task: Task,
    *,
    iterations: int,
    libraries: tuple[str, ...],
) -> Fitted:
    """A fitted model of `weights` (outputs, columns) and `intercepts` (outputs,); `spread` is the columns' deviation,
    by which their weights are compared."""
    sizes = np.abs(weights).mean(axis=0) * spread
    learned = {
        "features": list(task.names),
        "classes": list(task.classes),
        "coefficients": weights.tolist(),
        "intercepts": intercepts.tolist(),
    }
    task.advance(1, 1)
    return Fitted(
        predict=predict,
        to_onnx=lambda: linear_graph(weights, intercepts, task),
        learned={"learned.json": msgspec.json.encode(learned)},
        importance=dict(zip(task.names, (sizes / (sizes.sum() or 1.0)).tolist(), strict=True)),
        summary={"coefficients": int(weights.size), "iterations": iterations},
        libraries=libraries,
    )


def linear_graph(weights: Array, intercepts: Array, task: Task) -> bytes:
    """An ONNX model from FEATURES to the kind's output; of shapes (outputs, columns) and (outputs,)."""
    onnx = require("onnx", extra="sklearn", purpose="the export to ONNX")
    helper, types = onnx.helper, onnx.TensorProto
    constants = {"weights": weights.T.astype(np.float32), "intercepts": intercepts.astype(np.float32)}
    nodes = [helper.make_node("Gemm", [FEATURES, "weights", "intercepts"], ["margins"])]
    name, columns = OUTPUTS[task.kind], weights.shape[0]
    if task.kind == "multiclass":
        nodes.append(helper.make_node("Softmax", ["margins"], [name], axis=1))
    elif task.kind == "multilabel":
        nodes.append(helper.make_node("Sigmoid", ["margins"], [name]))
    else:
        constants["flat"] = np.array([-1], np.int64)
        nodes.append(helper.make_node("Reshape", ["margins", "flat"], ["margin"]))
        operator = "Sigmoid" if task.kind == "binary" else "Identity"
        nodes.append(helper.make_node(operator, ["margin"], [name]))
    shape = [None, columns] if task.kind in ("multiclass", "multilabel") else [None]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(FEATURES, types.FLOAT, [None, len(task.names)])],
        [helper.make_tensor_value_info(name, types.FLOAT, shape)],
        initializer=[onnx.numpy_helper.from_array(values, key) for key, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))
