"""An ONNX graph as it grows, and is run as it grows: each transform learns from what those before it made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from carrara.core.digests import digest_bytes, digest_data
from carrara.core.plugins import require
from carrara.models.runtimes.onnx import session
from carrara.training.onnx_graphs import IR_VERSION, OPSET
from carrara.training.trainers.base import Array

ML_DOMAIN = "ai.onnx.ml"
ORT_DOMAIN = "com.microsoft"

_OF_TEXTS = ("StringConcat", "StringNormalizer")
"""Operators whose output is text."""


@dataclass(frozen=True)
class Column:
    """A column on its way from a feature to the matrix.

    `tensor` is its name in the graph: float32 of shape (rows, width), or texts of shape (rows,). `names` is what each
    of the width is called, `sources` the features that it comes from. `categories` is how many there are where the
    values are places of categories. `filled` are the tensor with missing numbers that it was, and what they became:
    what is known of the one is known of the other.
    """

    tensor: str
    names: tuple[str, ...]
    sources: tuple[str, ...]
    categories: int | None = None
    is_text: bool = False
    filled: tuple[str, float] | None = None


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

    def runner(self, tensors: Sequence[str], widths: Mapping[str, int | None]) -> Callable[[Mapping[str, Array]], Any]:
        """A function from the graph's inputs to `tensors`, by their names."""
        made = [tensor for tensor in dict.fromkeys(tensors) if tensor not in widths]
        opened = session(self.model(widths, *made)) if made else None
        inputs = {one.name for one in opened.get_inputs()} if opened is not None else set()

        def run(given: Mapping[str, Array]) -> dict[str, Array]:
            used = {name: values for name, values in given.items() if name in inputs}
            found = dict(zip(made, opened.run(made, used), strict=True)) if opened is not None else {}
            return {tensor: found[tensor] if tensor in found else given[tensor] for tensor in tensors}

        return run

    def model(self, widths: Mapping[str, int | None], *outputs: str) -> bytes:
        """The model from inputs, of which there are the widths, None of a text, to outputs."""
        helper, needed = self._onnx.helper, self._leading_to(outputs, widths)
        used = {name for node in needed for name in node.input}
        graph = helper.make_graph(
            needed,
            "transforms",
            [self._input(name, width) for name, width in widths.items()],
            [self._output(name, needed) for name in outputs],
            initializer=[constant for name, constant in self.constants.items() if name in used],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, 3)]
        if any(node.domain == ORT_DOMAIN for node in needed):
            opsets.append(helper.make_opsetid(ORT_DOMAIN, 1))
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())

    def digest(self, tensor: str) -> str:
        """Of how a tensor is computed from the graph's inputs: equal for equal computations, whatever their parts are
        called here."""
        made = {output: node for node in self.nodes for output in node.output}
        found: dict[str, str] = {}
        for node in self._leading_to((tensor,), ()):
            attributes = sorted(one.SerializeToString(deterministic=True).hex() for one in node.attribute)
            inputs = [found.get(name) or self._digest_of_source(name) for name in node.input]
            for place, output in enumerate(node.output):
                found[output] = digest_data([node.op_type, node.domain, attributes, inputs, place])
        return found[tensor] if tensor in made else tensor

    def _digest_of_source(self, name: str) -> str:
        """Of a constant its value; an input is its name."""
        if name not in self.constants:
            return name
        constant = type(self.constants[name])()
        constant.CopyFrom(self.constants[name])
        constant.name = ""
        return digest_bytes(constant.SerializeToString(deterministic=True))

    def _input(self, name: str, width: int | None) -> Any:
        types = self._onnx.TensorProto
        if width is None:
            return self._onnx.helper.make_tensor_value_info(name, types.STRING, [None])
        return self._onnx.helper.make_tensor_value_info(name, types.FLOAT, [None, width])

    def _output(self, name: str, nodes: Sequence[Any]) -> Any:
        types = self._onnx.TensorProto
        is_text = any(name in node.output and node.op_type in _OF_TEXTS for node in nodes)
        return self._onnx.helper.make_tensor_value_info(name, types.STRING if is_text else types.FLOAT, None)

    def _leading_to(self, outputs: Collection[str], given: Collection[str]) -> Sequence[Any]:
        wanted, found = set(outputs), []
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
