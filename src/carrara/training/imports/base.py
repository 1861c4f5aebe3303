"""What an import makes of a model, and how the reader of a folder is found.

To add a flavor of MLflow: a function from the folder, what MLmodel says of the flavor, and the kind that was asked for
(None: what the artifact tells) to an `ImportedModel`, and its name in `READERS` of `training/imports/read.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from carrara.core.arrays import declared_shape
from carrara.core.errors import DataError
from carrara.evaluation.metrics import Kind
from carrara.models.mlflow.folder import MlflowFolder, MlflowInput
from carrara.models.signature import Signature, TensorSpec
from carrara.training.inputs import as_they_are
from carrara.training.trainers.base import OUTPUTS

INPUTS = "inputs"
"""The view of an imported model's definitions: each of its features is a field of the request."""


@dataclass(frozen=True)
class ImportedModel:
    """An artifact that a runtime of the `format` opens, and what it says of itself.

    `fields` are what a request tells, with their types; `importance` is each feature's share, by `inputs:field`.
    """

    format: str
    files: Mapping[str, bytes]
    learned: Mapping[str, bytes]
    fields: Mapping[str, str]
    signature: Signature
    kind: Kind
    classes: tuple[str, ...]
    importance: Mapping[str, float]
    libraries: tuple[str, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)


Reader = Callable[[MlflowFolder, Mapping[str, Any], Kind | None], ImportedModel]


def matrix_fields(folder: MlflowFolder, width: int, names: Sequence[str] = ()) -> dict[str, str]:
    """The fields that make a matrix of `width` columns: the inputs of the signature, in its order, or else `names`; one
    without a name is called `inputs`.

    DataError where the signature tells of others.
    """
    told = folder.inputs or tuple(MlflowInput(name, "float64") for name in names)
    told = told or (MlflowInput(None, f"float32[{width}]"),)
    columns = sum(_columns(one.type) for one in told)
    texts = [one.name for one in told if one.type in ("string", "datetime")]
    if columns != width or texts:
        said = f"{texts[0]} among them, which is no number" if texts else f"and it takes {width:,}"
        raise DataError(f"the signature of {folder.path} tells of {columns:,} columns, {said}")
    return {one.name or INPUTS: one.type for one in told}


def matrix_specs(fields: Mapping[str, str], dtype: str) -> tuple[TensorSpec, ...]:
    """The tensors of a model that takes its fields as one matrix of a type."""
    return tuple(TensorSpec(feature_of(name), dtype, (None, *declared_shape(type_))) for name, type_ in fields.items())


def feature_of(field: str) -> str:
    return f"{INPUTS}:{field}"


def output_spec(kind: Kind, classes: Sequence[str]) -> TensorSpec:
    """What a model of a kind answers."""
    return TensorSpec(OUTPUTS[kind], "float32", (None, len(classes)) if kind == "multiclass" else (None,))


def described(
    specs: tuple[TensorSpec, ...], by_column: Callable[[tuple[str, ...]], Mapping[str, float]]
) -> tuple[dict[str, bytes], dict[str, float]]:
    """The files that tell of a matrix's columns, and the importance of each feature by that of the columns."""
    inputs = as_they_are(specs)
    return inputs.files(), inputs.importance(by_column(inputs.names))


def numbered(count: int) -> tuple[str, ...]:
    """Classes that are known by their numbers alone."""
    return tuple(map(str, range(count)))


def _columns(type_: str) -> int:
    columns = 1
    for size in declared_shape(type_):
        columns *= size
    return columns
