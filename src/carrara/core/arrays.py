"""Columns whose values are arrays of numbers, such as images: all of one shape."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import type_name
from carrara.core.errors import DataError

_ARRAY = re.compile(r"float32\[(\d+(?:, ?\d+)*)\]")


def declared_shape(type_: str) -> tuple[int, ...]:
    """The shape that a type such as `float32[28, 28]` declares; empty for the type of a single value.

    >>> declared_shape("float32[28, 28]"), declared_shape("float64")
    ((28, 28), ())
    """
    found = _ARRAY.fullmatch(type_)
    return tuple(int(size) for size in found[1].split(",")) if found else ()


def array_column(values: np.ndarray[Any, Any]) -> pl.Series:
    """A column of lists, as tables hold them, of an array whose first axis counts the rows.

    >>> array_column(np.zeros((3, 2, 2), np.float32)).dtype
    List(List(Float32))
    """
    dtype: Any = pl.Float32
    for _ in values.shape[1:]:
        dtype = pl.List(dtype)
    return pl.Series(np.asarray(values, np.float32)).cast(dtype)


def is_array(dtype: pl.DataType) -> bool:
    """Whether values are lists, or lists of lists, …, of numbers.

    >>> is_array(pl.List(pl.List(pl.Float32))), is_array(pl.List(pl.String)), is_array(pl.Int64())
    (True, False, False)
    """
    inner: Any = dtype
    while isinstance(inner, pl.List | pl.Array):
        inner = inner.inner
    return inner is not dtype and (inner.is_numeric() or inner == pl.Boolean)


def array_shape(values: pl.Series, where: str) -> tuple[int, ...]:
    """The shape of each value. Raises DataError where they differ, or one is missing.

    >>> array_shape(pl.Series("image", [[[1, 2, 3], [4, 5, 6]]]), "digits")
    (2, 3)
    """
    shape: list[int] = []
    while isinstance(values.dtype, pl.List | pl.Array):
        lists = values if isinstance(values.dtype, pl.List) else values.arr.to_list()
        sizes = lists.list.len().unique()
        if len(sizes) != 1 or sizes[0] is None or lists.null_count():
            told = "missing arrays" if lists.null_count() else f"arrays of {', '.join(map(str, sizes.sort()[:5]))}"
            raise DataError(f"column '{values.name}' of {where} has {told}, and arrays of one shape are expected")
        shape.append(int(sizes[0]))
        values = lists.explode()
    return tuple(shape)


def flat_arrays(values: pl.Series, shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    """The arrays row by row, float32 of shape (rows, numbers), NaN for a missing number. Raises DataError where they
    are of another shape."""
    if not is_array(values.dtype):
        raise DataError(f"column '{values.name}' of {where} is {type_name(values.dtype)}, and arrays are expected")
    if len(values) and (found := array_shape(values, where)) != shape:
        raise DataError(f"column '{values.name}' of {where} has arrays of {found}, and {shape} are expected")
    rows = len(values)
    while isinstance(values.dtype, pl.List | pl.Array):
        values = values.explode()
    flat = values.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return np.ascontiguousarray(flat.reshape(rows, prod(shape)))
