"""TensorFlow's and PyTorch's flavors: a SavedModel, or a program of torch.export, that takes one matrix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.evaluation.metrics import Kind
from carrara.models.mlflow.folder import MlflowFolder
from carrara.models.runtimes.base import Servable
from carrara.models.runtimes.onnx import zeros
from carrara.models.runtimes.tensorflow import TensorFlowServable
from carrara.models.runtimes.torch import TorchServable
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.training.imports.base import ImportedModel, matrix_fields, matrix_specs, numbered, output_spec


def read_tensorflow(folder: MlflowFolder, conf: Mapping[str, Any], kind: Kind | None) -> ImportedModel:
    """A SavedModel by its signature `serving_default`; a Keras file has code in it, and is not opened."""
    place = folder.file(str(conf.get("saved_model_dir") or conf.get("data") or "")) if conf else folder.path
    home = next((path.parent for path in sorted(place.rglob(TensorFlowServable.FILE))), None)
    if home is None:
        raise DataError(
            f"{folder.path} holds a Keras model, which is not opened",
            hint="Save it for serving: model.export(FOLDER), and log it as a tf.Module.",
        )
    files = {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    return _net(folder, "tensorflow", files, TensorFlowServable.open_folder(home), kind)


def read_torch(folder: MlflowFolder, conf: Mapping[str, Any], kind: Kind | None) -> ImportedModel:
    """A program of torch.export (`serialization_format="pt2"`); a pickled module is not opened."""
    place = folder.file(str(conf.get("model_data") or "data"))
    path = next(iter(sorted(place.rglob(TorchServable.FILE))), None)
    if path is None:
        raise DataError(
            f"{folder.path} holds a pickled module of PyTorch, which is not opened",
            hint='Log it as a program: mlflow.pytorch.log_model(…, serialization_format="pt2").',
        )
    files = {TorchServable.FILE: path.read_bytes()}
    return _net(folder, "torch", files, TorchServable.open_folder(path.parent), kind)


def _net(
    folder: MlflowFolder, format: str, files: Mapping[str, bytes], opened: Mapping[str, Servable], kind: Kind | None
) -> ImportedModel:
    servable = opened.get(DEFAULT_SIGNATURE)
    own = servable.signature if servable is not None else None
    width = _width(own) if own is not None else None
    if servable is None or own is None or width is None:
        raise DataError(f"{folder.path} takes something else than one matrix", hint="Export it to ONNX.")
    answer = np.asarray(servable.run(zeros(own))[own.outputs[0].name])
    servable.close()
    columns = int(np.prod(answer.shape[1:], dtype=int))
    kind = kind or ("regression" if columns == 1 else "multiclass")
    fields, classes = matrix_fields(folder, width), numbered(columns) if kind == "multiclass" else ()
    if columns > 1 and kind != "multiclass":
        raise DataError(f"{folder.path} answers {columns} numbers a row, which is no {kind} model's answer")
    specs = matrix_specs(fields, "float32")
    return ImportedModel(
        format=format,
        files=files,
        learned={Path(name).name: data for name, data in files.items()},
        fields=fields,
        signature=Signature(specs, (output_spec(kind, classes),)),
        kind=kind,
        classes=classes,
        importance=dict.fromkeys((spec.name for spec in specs), 1 / len(specs)),
        libraries=(format, f"{format}-cpu"),
    )


def _width(signature: Signature) -> int | None:
    """How many columns the one matrix has that a net takes for its one answer; None where it takes something else."""
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        return None
    shape = signature.inputs[0].shape or ()
    return shape[1] if len(shape) == 2 and signature.inputs[0].dtype == "float32" else None
