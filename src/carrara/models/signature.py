"""What a model takes and gives: named tensors with types and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from carrara.core.errors import RequestError, did_you_mean
from carrara.core.named_columns import Columns

if TYPE_CHECKING:
    import polars as pl

DEFAULT_SIGNATURE = "serving_default"
"""The signature of a model's own inputs: one tensor per feature."""

ENTITIES_SIGNATURE = "entities"
"""The signature of a prediction by entity keys: keys and request fields; the features are looked up."""

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))
"""What a signature is for: named tensors, or rows of `tf.Example` to classes with scores, or to a number each."""

NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64", "complex64", "complex128", "bool")},
    **{name: np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "string": np.dtype("object"),
    "bytes": np.dtype("object"),
    "datetime": np.dtype("datetime64[us]"),
}
"""How a tensor lies in memory by its type; a `string` is an array of `str`, `bytes` one of `bytes`."""


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor: `dtype` is a key of `NUMPY_TYPES`, `shape` has None where any size goes.

    A `shape` that is None itself takes any number of dimensions. `tensor` is what the model's graph calls it.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None = (None,)
    tensor: str = ""

    def check(self, shape: tuple[int, ...], where: str) -> None:
        """RequestError when an array of this shape does not fit."""
        if self.shape is None:
            return
        if len(shape) != len(self.shape):
            raise RequestError(
                f"input '{self.name}' of {where} has {len(shape)} dimensions, and {len(self.shape)} are expected",
                field=self.name,
            )
        if any(own not in (None, size) for own, size in zip(self.shape, shape, strict=True)):
            expected = [-1 if size is None else size for size in self.shape]
            raise RequestError(
                f"input '{self.name}' of {where} has the shape {list(shape)}, and {expected} is expected",
                field=self.name,
            )


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one way to call a model; the first axis counts rows."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    method: str = PREDICT

    @cached_property
    def joins(self) -> bool:
        """Whether rows of several requests can be one run: every tensor has a first axis of any size."""
        return all(spec.shape and spec.shape[0] is None for spec in (*self.inputs, *self.outputs))

    @cached_property
    def types(self) -> dict[str, str]:
        """The dtype of each input by its name."""
        return {spec.name: spec.dtype for spec in self.inputs}

    @cached_property
    def _columns(self) -> frozenset[str]:
        """The names of the inputs where each is one float a row, all of one type; else none."""
        kinds = {(spec.dtype, spec.shape) for spec in self.inputs}
        alike = len(kinds) == 1 and kinds <= {("float32", (None,)), ("float64", (None,))}
        return frozenset(spec.name for spec in self.inputs) if alike else frozenset()

    def takes_columns(self, names: Sequence[str]) -> bool:
        """Whether the inputs are these names, each one float a row, all of one type."""
        return bool(self._columns) and self._columns == frozenset(names)

    def check(self, inputs: Mapping[str, np.ndarray[Any, Any]], where: str) -> int:
        """The number of rows of `inputs`; raises RequestError when they do not fit this signature."""
        if isinstance(inputs, Columns) and self.takes_columns(inputs.names):
            return len(inputs.matrix)
        names = [spec.name for spec in self.inputs]
        for name in inputs:
            if name not in names:
                raise RequestError(f"{where} has no input '{name}'", field=name, hint=did_you_mean(name, names))
        rows: int | None = None
        for spec in self.inputs:
            if spec.name not in inputs:
                raise RequestError(
                    f"input '{spec.name}' of {where} is missing",
                    field=spec.name,
                    hint=f"It takes: {', '.join(names)}.",
                )
            array = inputs[spec.name]
            spec.check(array.shape, where)
            if rows is not None and len(array) != rows:
                raise RequestError(
                    f"input '{spec.name}' of {where} has {len(array)} rows, and the inputs before it {rows}",
                    field=spec.name,
                )
            rows = len(array)
        return rows or 0

    def tensors(self, rows: pl.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        """The inputs, from columns of their names: NaN for a missing number, None for a missing text."""
        return {spec.name: _tensor(spec, rows[spec.name]) for spec in self.inputs}

    def as_dict(self) -> dict[str, Any]:
        return {
            side: [
                {"name": t.name, "dtype": t.dtype, "shape": None if t.shape is None else list(t.shape)}
                for t in getattr(self, side)
            ]
            for side in ("inputs", "outputs")
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Signature:
        def spec(t: Mapping[str, Any]) -> TensorSpec:
            return TensorSpec(t["name"], t["dtype"], None if t["shape"] is None else tuple(t["shape"]))

        def specs(side: str) -> tuple[TensorSpec, ...]:
            return tuple(map(spec, data[side]))

        return cls(inputs=specs("inputs"), outputs=specs("outputs"))


def _tensor(spec: TensorSpec, values: pl.Series) -> np.ndarray[Any, Any]:
    from carrara.core.arrays import array_shape, flat_arrays, is_array

    if spec.dtype == "string":
        return values.to_numpy().astype(object)
    if is_array(values.dtype):
        shape = array_shape(values, "the rows") if len(values) else tuple(size or 0 for size in (spec.shape or ())[1:])
        return flat_arrays(values, shape, "the rows").reshape(-1, *shape).astype(NUMPY_TYPES[spec.dtype])
    import polars as pl

    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(NUMPY_TYPES[spec.dtype])


EVENT_TIME = "event_time"
"""The input that says at which time a row is predicted; by default now."""

PREDICTION_ID = "prediction_id"
"""The input that names a prediction, so that a repeated one is logged once; by default a new name."""


QUERY_ID = "query_id"
"""The input that says to which query of a ranking a row belongs; by default the rows of one call are one query."""


def entities_signature(
    keys: Sequence[str], request: Mapping[str, str], own: Signature, *, query: str | None = None
) -> Signature:
    """What a prediction by entity keys takes: keys, request fields, and optionally a time and an id.

    `query` is the column that names the query of a ranking: where it is neither a key nor a field, it is asked for as
    QUERY_ID, optionally too.
    """
    from carrara.core.arrays import declared_shape

    inputs = [TensorSpec(key, "string") for key in keys]
    for name, type_ in request.items():
        shape = declared_shape(type_)
        inputs.append(TensorSpec(name, "float32" if shape else type_, (None, *shape)))
    if query is not None and not {query, QUERY_ID} & {*keys, *request}:
        inputs.append(TensorSpec(QUERY_ID, "string"))
    inputs += [TensorSpec(EVENT_TIME, "datetime"), TensorSpec(PREDICTION_ID, "string")]
    return Signature(inputs=tuple(inputs), outputs=own.outputs)
