"""An ONNX graph as it grows, which is run as it grows: each transform learns from what those before it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.models.runtimes.onnx import session
from carrara.training.onnx_graphs import IR_VERSION, OPSET
from carrara.training.trainers.base import Array

ML_DOMAIN = "ai.onnx.ml"
ORT_DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class Column:
    """A column on its way from a feature to the matrix.

    `values` of the training rows are float32 of shape (rows, width), or texts of shape (rows,); `tensor` is their name
    in the graph, `names` what each of the width is called, `sources` the features that it comes from. `categories` is
    how many there are where the values are places of categories.
    """

    tensor: str
    values: Array
    names: tuple[str, ...]
    sources: tuple[str, ...]
    categories: int | None = None

    @property
    def is_text(self) -> bool:
        return bool(self.values.dtype == object)


@dataclass
class Graph:
    """Nodes and constants, and how to run those that lead to a tensor."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._onnx = require("onnx", extra="xgboost", purpose="transforms in a model")

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = self._onnx.numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """A node, and the name of its first output."""
        name = f"tensor_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return name

    def run(self, tensor: str, given: Mapping[str, Array]) -> Array:
        """What `tensor` is where some tensors before it are `given`."""
        (found,) = session(self.model(given, tensor)).run([tensor], dict(given))
        return np.asarray(found)

    def model(self, inputs: Mapping[str, Array], output: str) -> bytes:
        """The model from inputs, of which the values tell types and widths, to one output of float32."""
        helper, needed = self._onnx.helper, self._leading_to(output, inputs)
        used = {name for node in needed for name in node.input}
        graph = helper.make_graph(
            needed,
            "transforms",
            [self._tensor(name, values) for name, values in inputs.items()],
            [helper.make_tensor_value_info(output, self._onnx.TensorProto.FLOAT, None)],
            initializer=[constant for name, constant in self.constants.items() if name in used],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, 3)]
        if any(node.domain == ORT_DOMAIN for node in needed):
            opsets.append(helper.make_opsetid(ORT_DOMAIN, 1))
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())

    def _tensor(self, name: str, values: Array) -> Any:
        types = self._onnx.TensorProto
        if values.dtype == object:
            return self._onnx.helper.make_tensor_value_info(name, types.STRING, [None])
        return self._onnx.helper.make_tensor_value_info(name, types.FLOAT, [None, values.shape[1]])

    def _leading_to(self, output: str, given: Mapping[str, Array]) -> Sequence[Any]:
        wanted, found = {output}, []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                found.append(node)
                wanted |= {name for name in node.input if name not in given}
        return found[::-1]


def joined(first: bytes, second: bytes, tensor: str, prefix: str = "transforms/") -> bytes:
    """Two models as one: the first one's only output is the second one's input called `tensor`; names inside of the
    first one get the prefix."""
    onnx = require("onnx", extra="xgboost", purpose="transforms in a model")
    front, back = (onnx.load_from_string(model) for model in (first, second))
    front = onnx.compose.add_prefix(front, prefix, rename_inputs=False)
    opsets = {opset.domain: opset.version for opset in [*back.opset_import, *front.opset_import]}
    if opsets.get("", 0) > next((o.version for o in back.opset_import if not o.domain), 0):
        back = onnx.version_converter.convert_version(back, opsets[""])
    back.ir_version = front.ir_version = IR_VERSION
    _same_opsets(onnx, front, back)
    merged = onnx.compose.merge_models(front, back, io_map=[(front.graph.output[0].name, tensor)])
    merged.graph.name = "model"
    del merged.metadata_props[:]
    return bytes(merged.SerializeToString(deterministic=True))


def _same_opsets(onnx: Any, *models: Any) -> None:
    versions: dict[str, int] = {}
    for model in models:
        for opset in model.opset_import:
            versions[opset.domain] = max(versions.get(opset.domain, 0), opset.version)
    for model in models:
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
