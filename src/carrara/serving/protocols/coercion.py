"""Brings the arrays of a wire to the types that a signature names; refuses what would change a value's meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from carrara.core.clock import microseconds, parse_time
from carrara.core.errors import CarraraError, RequestError
from carrara.core.named_columns import Batch, Columns
from carrara.models.signature import NUMPY_TYPES, Signature

Array = np.ndarray[Any, Any]

_FLOATS = ("f", "V")  # bfloat16 has the kind V


UNNAMED = ""
"""The name of an input that came without one: it is the only one that its signature takes."""


def coerced(inputs: Mapping[str, Array], signature: Signature) -> Mapping[str, Array]:
    """The inputs with the signature's dtypes; unknown names pass, for the signature's own check to name."""
    if isinstance(inputs, Batch) and signature.takes_columns(inputs.names):
        columns = inputs.columns()
        found = None if columns is None else _as_columns(columns, NUMPY_TYPES[signature.inputs[0].dtype])
        if found is not None:
            return found
    types = signature.types
    if UNNAMED in inputs:
        inputs = _named(inputs, list(types))
    return {name: _coerce(name, array, types[name]) if name in types else array for name, array in inputs.items()}


def _as_columns(columns: Columns, dtype: np.dtype[Any]) -> Columns | None:
    """The columns in another type of floats; None where one by one has to tell what is wrong with them."""
    held = columns.matrix.dtype
    if held == dtype or held.kind not in "fiu":
        return columns if held == dtype else None
    with np.errstate(over="ignore"):
        found = columns.cast(dtype)
    # Too large for its type, a number would become infinity.
    return None if held.itemsize > dtype.itemsize and np.isinf(found.matrix).any() else found


def _named(inputs: Mapping[str, Array], names: list[str]) -> Mapping[str, Array]:
    if len(names) != 1 or len(inputs) != 1:
        raise RequestError(
            f"the values have no names, and there are {len(names)} inputs",
            hint=f"Give each by its name: {', '.join(names)}.",
        )
    return {names[0]: inputs[UNNAMED]}


def _coerce(name: str, array: Array, dtype: str) -> Array:
    target = NUMPY_TYPES[dtype]
    if array.dtype == target and array.dtype.kind != "O":
        return array
    if not array.size:
        return np.empty(array.shape, target)
    if dtype == "datetime":
        return _times(name, array)
    if dtype == "string":
        return _texts(name, array)
    if dtype == "bytes":
        return _bytes(name, array)
    return numbers_of(name, array, dtype, target)


def numbers_of(name: str, array: Array, dtype: str, target: np.dtype[Any]) -> Array:
    """An array of numbers, or of objects that are some, in another type; RequestError where one would not be the same.

    `dtype` is the name of the type for people.
    """
    if not array.size:
        return np.empty(array.shape, target)
    if array.dtype.kind == "O":
        array = _numbers(name, array)
    return _as_number(name, array, dtype, target)


def _as_number(name: str, array: Array, dtype: str, target: np.dtype[Any]) -> Array:
    kind = array.dtype.kind
    if target.kind in _FLOATS and kind in "fiubV":
        return _as_float(name, array, dtype, target)
    if target.kind == "c" and kind in "cfiub":
        return array.astype(target)
    if target.kind in "iu" and kind in "iu":
        limits = np.iinfo(target)
        outside = (array < limits.min) | (array > limits.max)
        if outside.any():
            raise _mismatch(name, f"{dtype}, from {limits.min} to {limits.max}", array[outside])
        return array.astype(target)
    if target.kind == kind == "b":
        return array
    raise _mismatch(name, f"a {dtype}", array)


def _as_float(name: str, array: Array, dtype: str, target: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        found = array.astype(target)
    if array.dtype.itemsize > target.itemsize and not np.isfinite(found).all():
        # Too large for its type, it would become infinity.
        outside = np.isinf(found) & np.isfinite(array)
        if outside.any():
            raise _mismatch(name, f"a {dtype}", array[outside])
    return found


def _numbers(name: str, array: Array) -> Array:
    """JSON's numbers and nulls; a null is a missing number."""
    types = set(map(type, array.ravel()))
    if not types <= {int, float, bool, type(None)} or (bool in types and len(types) > 1):
        raise _mismatch(name, "a number", array)
    try:
        if types == {bool}:
            return array.astype(bool)
        if types == {int}:
            return array.astype(np.uint64 if min(array.flat) >= 0 else np.int64)
        return array.astype(np.float64)
    except OverflowError:
        raise _mismatch(name, "a number", array) from None


def _texts(name: str, array: Array) -> Array:
    kinds = _kinds(array)
    if _are(kinds, (str,)):
        return array
    if not _are(kinds, (bytes, str)):
        raise _mismatch(name, "a string", array)
    try:
        texts = [value if isinstance(value, str) else value.decode() for value in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise RequestError(f"input '{name}' has bytes that are not UTF-8: {error}", field=name) from error
    return _objects(texts, array.shape)


def _bytes(name: str, array: Array) -> Array:
    kinds = _kinds(array)
    if _are(kinds, (bytes,)):
        return array
    if not _are(kinds, (bytes, str)):
        raise _mismatch(name, "a string", array)
    # A lone surrogate of JSON has no bytes in UTF-8.
    try:
        texts = [value if isinstance(value, bytes) else value.encode() for value in array.ravel().tolist()]
    except UnicodeEncodeError as error:
        raise RequestError(f"input '{name}' has a text that is not Unicode: {error}", field=name) from error
    return _objects(texts, array.shape)


def _kinds(array: Array) -> set[type]:
    """The types of an array's objects; of an array that has none, what no text is."""
    return set(map(type, array.ravel().tolist())) if array.dtype.kind == "O" else {type(None)}


def _are(kinds: set[type], wanted: tuple[type, ...]) -> bool:
    return all(issubclass(one, wanted) for one in kinds)


def _times(name: str, array: Array) -> Array:
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    if array.dtype.kind == "i":
        return array.astype(np.int64).view("datetime64[us]")
    try:
        found = [microseconds(parse_time(value)) for value in _texts(name, array).flat]
    except RequestError:
        raise _mismatch(name, "a time", array) from None
    except CarraraError as error:
        raise RequestError(f"input '{name}': {error.message}", field=name, hint=error.hint) from error
    return np.array(found, dtype="datetime64[us]").reshape(array.shape)


def _objects(values: list[Any], shape: tuple[int, ...]) -> Array:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made.reshape(shape)


def _mismatch(name: str, wanted: str, array: Array) -> RequestError:
    odd = next((value for value in array.flat if value is not None), None)
    shown = odd.item() if isinstance(odd, np.generic) else odd
    return RequestError(f"input '{name}' takes {wanted}, and {shown!r} was given", field=name)
