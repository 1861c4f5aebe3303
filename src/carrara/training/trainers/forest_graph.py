"""Trees as an ONNX graph, written from plain arrays: a general converter takes ten times as long, of a fit of seconds a
tenth."""

from __future__ import annotations

from typing import Any

import numpy as np

from carrara.core.errors import CarraraError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.models.learned.forest import NEVER, ZERO, Forest
from carrara.training.onnx_graphs import IR_VERSION, with_output
from carrara.training.trainers.base import FEATURES

_TREES_OPSET, _OPSET = 3, 13
_LINKS = {"sigmoid": "Sigmoid", "softmax": "Softmax"}


def forest_graph(forest: Forest, kind: Kind, columns: int) -> bytes:
    """An ONNX model from FEATURES, of so many columns, to the kind's output.

    The thresholds are numbers of float32. CarraraError for trees to which zeros are missing: a graph knows NaN alone.
    """
    onnx = require("onnx", extra="xgboost", purpose="the export to ONNX")
    helper, outputs = onnx.helper, len(forest.base)
    nodes = [helper.make_node("TreeEnsembleRegressor", [FEATURES], ["margins"], domain="ai.onnx.ml")]
    for name, values in _attributes(forest).items():
        nodes[0].attribute.append(_attribute(onnx, name, values))
    source = "margins"
    if forest.link != "identity":
        more = {"axis": 1} if forest.link == "softmax" else {}
        nodes.append(helper.make_node(_LINKS[forest.link], [source], ["answers"], **more))
        source = "answers"
    given = helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, [None, columns])
    made = helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, [None, outputs])
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _TREES_OPSET)]
    model = helper.make_model(helper.make_graph(nodes, "model", [given], [made]), opset_imports=opsets)
    model.ir_version = IR_VERSION
    return with_output(model, kind, source, columns=outputs)


def _attributes(forest: Forest) -> dict[str, Any]:
    trees = forest.trees
    sizes = [len(tree) for tree in trees]
    tree_of = np.repeat(np.arange(len(trees)), sizes)
    node_of = np.concatenate([np.arange(size) for size in sizes])
    left, right, column, threshold, value, missing, missing_left = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("left", "right", "column", "threshold", "value", "missing", "missing_left")
    )
    output_of, strict = (np.repeat([getattr(tree, name) for tree in trees], sizes) for name in ("output", "strict"))
    leaf = left < 0
    if (missing[~leaf] == ZERO).any():
        raise CarraraError("trees to which zeros are missing have no equal graph")
    # To a split of which no number was missing NaN is 0.
    as_zero = np.where(strict, threshold > 0, threshold >= 0)
    nan_left = np.where(missing == NEVER, as_zero, missing_left) & ~leaf
    modes = np.where(leaf, b"LEAF", np.where(strict, b"BRANCH_LT", b"BRANCH_LEQ"))
    return {
        "n_targets": len(forest.base),
        "base_values": forest.base,
        "nodes_treeids": tree_of,
        "nodes_nodeids": node_of,
        "nodes_featureids": column,
        "nodes_values": threshold,
        "nodes_modes": modes.tolist(),
        "nodes_truenodeids": np.where(leaf, 0, left),
        "nodes_falsenodeids": np.where(leaf, 0, right),
        "nodes_missing_value_tracks_true": nan_left.astype(np.int64),
        "target_treeids": tree_of[leaf],
        "target_nodeids": node_of[leaf],
        "target_ids": output_of[leaf],
        "target_weights": value[leaf],
    }


def _attribute(onnx: Any, name: str, values: Any) -> Any:
    made, kinds = onnx.AttributeProto(name=name), onnx.AttributeProto
    if isinstance(values, int):
        made.type, made.i = kinds.INT, values
    elif isinstance(values, list):
        made.type = kinds.STRINGS
        made.strings.extend(values)
    elif values.dtype.kind == "f":
        made.type = kinds.FLOATS
        made.floats.extend(values.astype(np.float32).tolist())
    else:
        made.type = kinds.INTS
        made.ints.extend(values.tolist())
    return made
