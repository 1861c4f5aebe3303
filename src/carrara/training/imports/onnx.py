"""ONNX's flavor: a graph, whose inputs get the names of features, and whose answer becomes that of its kind."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.arrays import declared_shape
from carrara.core.errors import DataError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.models.mlflow.folder import MlflowFolder, MlflowInput
from carrara.models.runtimes.onnx import read_signature, session, zeros
from carrara.models.signature import Signature, TensorSpec
from carrara.training.imports.base import (
    ImportedModel,
    feature_of,
    matrix_fields,
    matrix_specs,
    numbered,
    output_spec,
)
from carrara.training.onnx_graphs import with_output
from carrara.training.trainers.base import OUTPUTS

_FLOATS = ("float16", "float32", "float64")
_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


def read(folder: MlflowFolder, conf: Mapping[str, Any], kind: Kind | None) -> ImportedModel:
    """The graph with its weights inside, in one file."""
    onnx = require("onnx", extra="mlflow", purpose="a model in ONNX")
    path = folder.file(str(conf.get("data", "model.onnx")))
    try:
        model = onnx.load(str(path))  # what lies in files beside it is read, too
    except Exception as error:
        raise DataError(f"{path} is no graph of ONNX: {error}") from error
    classes = _without_maps(model.graph) or _labels(model.graph)
    own = _declared(onnx, model, path)
    source, columns, kind = _answer(onnx, model, own, classes, kind)
    fields, specs = _inputs(onnx, model, own, folder)
    names = (classes or numbered(columns)) if kind == "multiclass" else ()
    graph = with_output(model, kind, source, columns=columns)
    return ImportedModel(
        format="onnx",
        files={"model.onnx": graph},
        learned={"model.onnx": graph},
        fields=fields,
        signature=Signature(specs, (output_spec(kind, names),)),
        kind=kind,
        classes=names,
        importance=dict.fromkeys((spec.name for spec in specs), 1 / len(specs)),
        libraries=("onnx",),
    )


def _declared(onnx: Any, model: Any, path: Path) -> Signature:
    with tempfile.TemporaryDirectory(prefix="carrara-") as scratch:
        written = Path(scratch) / "model.onnx"
        written.write_bytes(model.SerializeToString())
        try:
            return read_signature(written)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{path} cannot be run: {error}") from error


def _without_maps(graph: Any) -> tuple[str, ...]:
    """Take away what makes a dictionary of each row's probabilities, as converters of scikit-learn do, and tell the
    classes that it names; the tensor before it becomes the output."""
    classes: tuple[str, ...] = ()
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        classes = _attribute(node)
        graph.node.remove(node)
        for output in graph.output:
            if output.name == node.output[0]:
                output.name = node.input[0]
                output.type.Clear()
                output.type.tensor_type.elem_type = 1
    return classes


def _labels(graph: Any) -> tuple[str, ...]:
    """The classes that a classifier among the nodes names."""
    return next((found for node in graph.node if "Classifier" in node.op_type and (found := _attribute(node))), ())


def _attribute(node: Any) -> tuple[str, ...]:
    for attribute in node.attribute:
        if attribute.name in _LABELS and (attribute.strings or attribute.ints):
            return tuple(one.decode() for one in attribute.strings) or tuple(map(str, attribute.ints))
    return ()


def _answer(onnx: Any, model: Any, own: Signature, classes: Sequence[str], kind: Kind | None) -> tuple[str, int, Kind]:
    """The output that is the answer, as float32, how many columns it has, and the kind of the model."""
    outputs = [spec for spec in own.outputs if spec.dtype in _FLOATS]
    if not outputs:
        raise DataError(f"the graph answers no numbers: {', '.join(spec.name for spec in own.outputs)}")
    (answer,) = session(model.SerializeToString()).run([outputs[-1].name], zeros(own))
    columns = int(np.prod(np.shape(answer)[1:], dtype=int))
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    sigmoid = makers.get(outputs[-1].name) == "Sigmoid" or outputs[-1].name == OUTPUTS["binary"]
    likely: Kind = "regression" if columns == 1 and not sigmoid else "binary" if columns < 3 else "multiclass"
    if columns == 2 and not (classes or makers.get(outputs[-1].name) == "Softmax" or len(own.outputs) > 1):
        likely = "multiclass"
    name = f"{outputs[-1].name} as float32"
    model.graph.node.append(onnx.helper.make_node("Cast", [outputs[-1].name], [name], to=onnx.TensorProto.FLOAT))
    return name, columns, kind or likely


def _inputs(
    onnx: Any, model: Any, own: Signature, folder: MlflowFolder
) -> tuple[dict[str, str], tuple[TensorSpec, ...]]:
    """The fields of a request, and the tensors that the graph is given of them: by name, or joined to its matrix."""
    if (width := _width(own, folder)) is not None:
        fields = matrix_fields(folder, width)
        return fields, matrix_specs(fields, own.inputs[0].dtype)
    by_place = folder.inputs if len(folder.inputs) == len(own.inputs) else (None,) * len(own.inputs)
    by_name = {one.name: one for one in by_place if one is not None}
    fields, specs = {}, []
    for spec, there in zip(own.inputs, by_place, strict=True):
        told = by_name.get(spec.name, there) or MlflowInput(None, _type(spec, folder))
        field = told.name or spec.name
        fields[field] = told.type
        specs.append(TensorSpec(feature_of(field), spec.dtype, (None, *declared_shape(told.type))))
        _rename(onnx, model, spec, specs[-1])
    return fields, tuple(specs)


def _width(own: Signature, folder: MlflowFolder) -> int | None:
    """How many columns the matrix has that the graph takes; None where it takes each input by its name."""
    first = own.inputs[0]
    if len(own.inputs) > 1 or first.dtype not in _FLOATS or len(first.shape or ()) != 2:
        return None
    width = (first.shape or ())[1] or len(folder.inputs)
    return width if width > 1 else None


def _type(spec: TensorSpec, folder: MlflowFolder) -> str:
    """The type of a field that the graph alone tells of."""
    shape = list((spec.shape or ())[1:])
    if shape in ([], [1]):
        return spec.dtype if spec.dtype in ("string", "bool", "int32", "int64", "float32", "float64") else "float64"
    if None in shape or spec.dtype not in _FLOATS:
        raise DataError(f"the input '{spec.name}' of {folder.path} is no column that can be served")
    return f"float32{shape}"


def _rename(onnx: Any, model: Any, was: TensorSpec, now: TensorSpec) -> None:
    """Give the graph an input of a feature's name and shape, which is made what the graph took before."""
    (old,) = (one for one in model.graph.input if one.name == was.name)
    elem = old.type.tensor_type.elem_type
    place = [one.name for one in model.graph.input].index(was.name)
    model.graph.input.insert(place, onnx.helper.make_tensor_value_info(now.name, elem, now.shape))
    model.graph.input.remove(old)
    sizes = [-1, *(1 if size is None else size for size in (was.shape or (None,))[1:])]
    shape = f"{was.name} shape"
    model.graph.initializer.append(onnx.helper.make_tensor(shape, onnx.TensorProto.INT64, [len(sizes)], sizes))
    model.graph.node.insert(0, onnx.helper.make_node("Reshape", [now.name, shape], [was.name]))
