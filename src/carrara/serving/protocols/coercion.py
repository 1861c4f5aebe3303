"""Brings the arrays of a wire to the types that a signature names; refuses what would change a value's meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from carrara.core.clock import microseconds, parse_time
from carrara.core.errors import CarraraError, RequestError
from carrara.models.signature import NUMPY_TYPES, Signature

Array = np.ndarray[Any, Any]


def coerced(inputs: Mapping[str, Array], signature: Signature) -> dict[str, Array]:
    """The inputs with the signature's dtypes; unknown names pass, for the signature's own check to name."""
    types = {spec.name: spec.dtype for spec in signature.inputs}
    return {name: _coerce(name, array, types[name]) if name in types else array for name, array in inputs.items()}


def _coerce(name: str, array: Array, dtype: str) -> Array:
    kind, target = array.dtype.kind, NUMPY_TYPES[dtype]
    if array.dtype == target and kind != "O":
        return array
    if dtype == "datetime":
        return _times(name, array)
    if dtype == "string":
        if kind != "O" or not all(isinstance(value, str) for value in array.flat):
            raise _mismatch(name, "a string", array)
        return array
    if kind == "O":
        array = _numbers(name, array)
        kind = array.dtype.kind
    if target.kind == "f" and kind in "fiub":
        return array.astype(target)
    if target.kind in "iu" and kind in "iu":
        return array.astype(target)
    if target.kind == kind == "b":
        return array
    raise _mismatch(name, f"a {dtype}", array)


def _numbers(name: str, array: Array) -> Array:
    """JSON's numbers and nulls; a null is a missing number."""
    if not all(value is None or isinstance(value, int | float) for value in array.flat):
        raise _mismatch(name, "a number", array)
    return np.array([np.nan if value is None else value for value in array.flat], np.float64).reshape(array.shape)


def _times(name: str, array: Array) -> Array:
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    if array.dtype.kind == "i":
        return array.astype(np.int64).view("datetime64[us]")
    if array.dtype != object or not all(isinstance(value, str) for value in array.flat):
        raise _mismatch(name, "a time", array)
    try:
        found = [microseconds(parse_time(value)) for value in array.flat]
    except CarraraError as error:
        raise RequestError(f"input '{name}': {error.message}", field=name, hint=error.hint) from error
    return np.array(found, dtype="datetime64[us]").reshape(array.shape)


def _mismatch(name: str, wanted: str, array: Array) -> RequestError:
    odd = next((value for value in array.flat if value is not None), None)
    return RequestError(f"input '{name}' takes {wanted}, and {odd!r} was given", field=name)
