"""What a caller gives, columns or rows, as arrays by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from carrara.core.clock import microseconds
from carrara.core.errors import RequestError

Array = np.ndarray[Any, Any]

Given = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Columns by name, or rows."""


def columns_of(given: Given) -> dict[str, Array]:
    """Texts and bytes as objects, times as microseconds, numbers as what numpy makes of them; RequestError where rows
    have different names.

    >>> columns_of([{"x": 1.5, "name": "a"}, {"x": 2.5, "name": "b"}])
    {'x': array([1.5, 2.5]), 'name': array(['a', 'b'], dtype=object)}
    """
    return {name: _column(values) for name, values in _by_name(given).items()}


def _by_name(given: Given) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    names = list(given[0]) if given else []
    for place, row in enumerate(given):
        if row.keys() != set(names):
            raise RequestError(f"row {place} has other names than the first")
    return {name: [row[name] for row in given] for name in names}


def _column(values: Any) -> Array:
    array = values if isinstance(values, np.ndarray) else np.array(values)
    if array.dtype.kind in "US":
        return array.astype(object)
    if array.dtype.kind == "O" and array.size and isinstance(array.flat[0], datetime):
        return np.array([microseconds(value) for value in array.flat], np.int64).reshape(array.shape)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]").astype(np.int64)
    return array
