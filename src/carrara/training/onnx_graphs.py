"""Small work on ONNX graphs that exports share: one output of the kind's shape, and a name that is not random."""

from __future__ import annotations

from typing import Any

from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.training.trainers.base import OUTPUTS

OPSET = 20
IR_VERSION = 10


def with_output(model: Any, kind: Kind, source: str, *, columns: int) -> bytes:
    """A graph whose output `source`, of shape (rows, columns) or (rows,), becomes the kind's own, and its only one.

    Of a binary label's two columns the second is taken.
    """
    onnx = require("onnx", extra="xgboost", purpose="the export to ONNX")
    helper, graph, name = onnx.helper, model.graph, OUTPUTS[kind]
    if kind == "multiclass":
        if source != name:
            graph.node.append(helper.make_node("Identity", [source], [name]))
    elif columns > 1:
        graph.initializer.append(helper.make_tensor("positive", onnx.TensorProto.INT64, [], [1]))
        graph.node.append(helper.make_node("Gather", [source, "positive"], [name], axis=1))
    else:
        graph.initializer.append(helper.make_tensor("flat", onnx.TensorProto.INT64, [1], [-1]))
        graph.node.append(helper.make_node("Reshape", [source, "flat"], [name]))
    del graph.output[:]
    shape = [None, columns] if kind == "multiclass" else [None]
    graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    # These are of the standard operators, which a converter of trees has no need to import.
    if all(opset.domain for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 13))
    # Converters name a graph at random; equal models are to have equal artifacts.
    graph.name = "model"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
