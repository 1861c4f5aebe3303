"""A net as a SavedModel of named signatures, of one graph without variables: equal nets make equal bytes.

    serving_default   each input by its name          -> the output of the kind        (predict)
    predict           `examples`, serialized          -> the same                      (predict)
    classify          `inputs`, serialized            -> `classes` and `scores`        (of labels that are classes)
    regress           `inputs`, serialized            -> `outputs`, one number a row   (of numbers and probabilities)

Serialized are `tf.Example`s: numbers as float lists, texts as byte lists; one that is not there is missing. Parsed,
they are what the named inputs are by default, so that the net is there once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.models.signature import CLASSIFY, PREDICT, REGRESS, TensorSpec
from carrara.training.inputs import NUMBERS
from carrara.training.trainers.base import OUTPUTS, Task
from carrara.training.trainers.epochs import Scale
from carrara.training.trainers.tensorflow_transforms import transformed

FILE = "saved_model.pb"
_MOST_BYTES = 2 << 30
"""Of one message of protobuf."""


@dataclass(frozen=True)
class Frozen:
    """A function from a matrix to margins as a graph without variables, with the names of its two ends."""

    graph: Any
    matrix: str
    margins: str


def frozen(function: Any) -> Frozen:
    """What a concrete function computes now, its nodes named by their places: frameworks number theirs as they go."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    found = convert_variables_to_constants_v2(function)
    graph = found.graph.as_graph_def()
    names = {node.name: f"node_{place}" for place, node in enumerate(graph.node)}
    for node in graph.node:
        node.name, node.device = names[node.name], ""
        node.input[:] = [_renamed(one, names) for one in node.input]
    return Frozen(graph, _renamed(found.inputs[0].name, names), _renamed(found.outputs[0].name, names))


def _renamed(tensor: str, names: Mapping[str, str]) -> str:
    """A reference such as `name`, `name:1` or `^name`."""
    control = tensor[:1] == "^"
    name, colon, place = tensor.removeprefix("^").partition(":")
    return ("^" if control else "") + names[name] + colon + place


def saved_model(
    tensorflow: Any, net: Frozen, inputs: Sequence[TensorSpec], transforms: bytes | None, scale: Scale, task: Task
) -> dict[str, bytes]:
    """The file of a SavedModel from `inputs`, of which the graph of transforms makes the net's matrix.

    Raises TrainingError for transforms that have no form in TensorFlow, and for a net that is too large for one file.
    """
    with tensorflow.Graph().as_default() as graph:
        examples = tensorflow.compat.v1.placeholder(tensorflow.string, (None,), "examples")
        given = _given(tensorflow, examples, inputs)
        matrix = _matrix(tensorflow, inputs, given, transforms)
        (margins,) = tensorflow.import_graph_def(net.graph, {net.matrix: matrix}, [net.margins], name="net")
        answer = tensorflow.identity(_answer(tensorflow, margins, scale, task), "answer")
        signatures = _signatures(tensorflow, examples, given, answer, task)
        return {FILE: _saved(tensorflow, graph, signatures)}


def _given(tensorflow: Any, examples: Any, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """The inputs by their names: what a request feeds, and else what is parsed of its examples."""

    def feature(spec: TensorSpec) -> Any:
        shape = tuple(size or 1 for size in (spec.shape or ())[1:])
        if spec.dtype == "string":
            return tensorflow.io.FixedLenFeature(shape, tensorflow.string, "")
        missing = np.full(shape, np.nan, np.float32)
        return tensorflow.io.FixedLenFeature(shape, tensorflow.float32, missing)

    parsed = tensorflow.io.parse_example(examples, {spec.name: feature(spec) for spec in inputs}, name="parsed")
    return {
        spec.name: tensorflow.compat.v1.placeholder_with_default(
            parsed[spec.name], (None, *(spec.shape or ())[1:]), f"input_{place}"
        )
        for place, spec in enumerate(inputs)
    }


def _matrix(tensorflow: Any, inputs: Sequence[TensorSpec], given: Mapping[str, Any], transforms: bytes | None) -> Any:
    numbers = [
        tensorflow.reshape(given[spec.name], (-1, prod(size or 1 for size in (spec.shape or ())[1:])))
        for spec in inputs
        if spec.dtype != "string"
    ]
    matrix = tensorflow.concat(numbers, axis=1) if numbers else None
    if transforms is None:
        return matrix
    texts = {spec.name: given[spec.name] for spec in inputs if spec.dtype == "string"}
    return transformed(tensorflow, transforms, {**texts, **({} if matrix is None else {NUMBERS: matrix})})


def _answer(tensorflow: Any, margins: Any, scale: Scale, task: Task) -> Any:
    if task.kind == "multiclass":
        return tensorflow.nn.softmax(margins)
    if task.kind == "multilabel":
        return tensorflow.sigmoid(margins)
    flat = tensorflow.reshape(margins, (-1,))
    return flat * scale.std + scale.mean if task.kind == "regression" else tensorflow.sigmoid(flat)


def _signatures(tensorflow: Any, examples: Any, given: Mapping[str, Any], answer: Any, task: Task) -> dict[str, Any]:
    output, signature = {OUTPUTS[task.kind]: answer}, _signature
    found = {
        "serving_default": signature(given, output, PREDICT),
        "predict": signature({"examples": examples}, output, PREDICT),
    }
    if task.kind != "regression":
        scores = tensorflow.stack([1 - answer, answer], axis=1) if task.kind == "binary" else answer
        labels = tensorflow.constant([list(task.classes or ("0", "1"))])
        classes = {"classes": tensorflow.tile(labels, [tensorflow.shape(scores)[0], 1]), "scores": scores}
        found["classify"] = signature({"inputs": examples}, classes, CLASSIFY)
    if task.kind in ("binary", "regression"):
        found["regress"] = signature({"inputs": examples}, {"outputs": answer}, REGRESS)
    return found


def _signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str) -> Any:
    from tensorflow.core.protobuf import meta_graph_pb2

    def tensor(one: Any) -> Any:
        return meta_graph_pb2.TensorInfo(
            name=one.name, dtype=one.dtype.as_datatype_enum, tensor_shape=one.shape.as_proto()
        )

    inputs, outputs = ({name: tensor(one) for name, one in side.items()} for side in (inputs, outputs))
    return meta_graph_pb2.SignatureDef(inputs=inputs, outputs=outputs, method_name=method)


def _saved(tensorflow: Any, graph: Any, signatures: Mapping[str, Any]) -> bytes:
    from tensorflow.core.protobuf import saved_model_pb2

    if (size := graph.as_graph_def().ByteSize()) >= _MOST_BYTES:
        raise TrainingError(
            f"the net takes {size:,} bytes, and a SavedModel of one file has less than 2 GB",
            hint='Fewer categories, or train with export="onnx".',
        )
    v1 = tensorflow.compat.v1
    with tempfile.TemporaryDirectory(prefix="saved-model-") as folder, v1.Session(graph=graph) as session:
        builder = v1.saved_model.Builder(f"{folder}/made")
        builder.add_meta_graph_and_variables(session, ["serve"], signatures, main_op=v1.tables_initializer("tables"))
        builder.save()
        found = saved_model_pb2.SavedModel.FromString(Path(folder, "made", FILE).read_bytes())
    for node in found.meta_graphs[0].graph_def.node:
        if node.op == "HashTableV2":
            # By itself a table is shared by a random name.
            node.attr["shared_name"].s = node.name.encode()
    return bytes(found.SerializeToString(deterministic=True))
