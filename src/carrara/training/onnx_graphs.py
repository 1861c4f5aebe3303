"""Small work on ONNX graphs that exports share: one output of the kind's shape, and a name that is not random."""

from __future__ import annotations

from typing import Any

from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.training.trainers.base import OUTPUTS

OPSET = 20
_NUMBERS = ("regression", "ranking")
IR_VERSION = 10
_ADDED = ("one", "flat", "positive", "least", "most", "not_below")


def with_output(model: Any, kind: Kind, source: str, *, columns: int) -> bytes:
    """A graph whose output `source`, of shape (rows, columns) or (rows,), becomes the kind's own, and its only one.

    Of a binary label's two columns the second is taken; one column is a row's one number.
    """
    onnx = require("onnx", extra="xgboost", purpose="the export to ONNX")
    helper, graph, name = onnx.helper, model.graph, OUTPUTS[kind]
    if any(name in node.output for node in graph.node):
        free = _renamed(graph, name)
        source = free if source == name else source
    own = _unused(graph)
    if kind in _NUMBERS or (kind == "binary" and columns == 1):
        flat = name if kind in _NUMBERS else f"{own}.one"
        graph.initializer.append(helper.make_tensor(f"{own}.flat", onnx.TensorProto.INT64, [1], [-1]))
        graph.node.append(helper.make_node("Reshape", [source, f"{own}.flat"], [flat]))
        source = flat
    if kind not in _NUMBERS:
        if kind == "binary" and columns > 1:
            graph.initializer.append(helper.make_tensor(f"{own}.positive", onnx.TensorProto.INT64, [], [1]))
            graph.node.append(helper.make_node("Gather", [source, f"{own}.positive"], [f"{own}.one"], axis=1))
            source = f"{own}.one"
        # Sums of float32 may come to a little more than 1.
        for bound, value in ((f"{own}.least", 0.0), (f"{own}.most", 1.0)):
            graph.initializer.append(helper.make_tensor(bound, onnx.TensorProto.FLOAT, [], [value]))
        # Max and Min are the same in every version of the operators that converters choose; Clip is not.
        graph.node.append(helper.make_node("Max", [source, f"{own}.least"], [f"{own}.not_below"]))
        graph.node.append(helper.make_node("Min", [f"{own}.not_below", f"{own}.most"], [name]))
    del graph.output[:]
    shape = [None, columns] if kind in ("multiclass", "multilabel") else [None]
    graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    # These are of the standard operators, which a converter of trees has no need to import.
    if all(opset.domain for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 13))
    # Converters name a graph at random; equal models are to have equal artifacts.
    graph.name = "model"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _unused(graph: Any) -> str:
    """What names that are added begin with; another one where a graph of ours was imported again."""
    taken = {one.name for one in graph.initializer} | {name for node in graph.node for name in node.output}
    own = "carrara"
    while any(f"{own}.{name}" in taken for name in _ADDED):
        own += "_again"
    return own


def _renamed(graph: Any, tensor: str) -> str:
    """Give another name to a tensor that some node makes, and return it."""
    name = f"{tensor} as converted"
    for node in graph.node:
        node.output[:] = [name if one == tensor else one for one in node.output]
        node.input[:] = [name if one == tensor else one for one in node.input]
    return name
