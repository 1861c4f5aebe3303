"""Universal Binary JSON (ubjson.org, draft 12), as XGBoost writes it, decoded to plain data."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from carrara.core.errors import StorageError

_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"T": True, "F": False, "Z": None}
_DEEPEST = 64


def decode(data: bytes) -> Any:
    """The value of a document; arrays of one type are NumPy arrays. StorageError where the bytes are not one.

    >>> decode(b"{i" + bytes([1]) + b"a[i" + bytes([5]) + b"T]}")
    {'a': [5, True]}
    """
    try:
        value, end = _value(data, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise StorageError(f"this is no UBJSON: {type(error).__name__}: {error}") from error
    if end != len(data):
        raise StorageError(f"this is no UBJSON: {len(data) - end:,} bytes are left over")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    return _typed(data, at + 1, chr(data[at]), depth)


def _typed(data: bytes, at: int, kind: str, depth: int) -> tuple[Any, int]:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if kind in _NUMBERS:
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(_taken(data, at, dtype.itemsize), dtype)[0].item(), at + dtype.itemsize
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind in "SH":
        return _text(data, at)
    if kind == "C":
        return chr(data[at]), at + 1
    if kind == "[":
        return _array(data, at, depth)
    if kind == "{":
        return _object(data, at, depth)
    raise ValueError(f"byte {at - 1:,} is '{kind}', which is no type")


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, count, at = _header(data, at)
    if kind in _NUMBERS and count is not None:
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(_taken(data, at, count * dtype.itemsize), dtype), at + count * dtype.itemsize
    found: list[Any] = []
    while len(found) != count:
        if count is None and data[at] == ord("]"):
            return found, at + 1
        value, at = _typed(data, at, kind, depth + 1) if kind else _value(data, at, depth + 1)
        found.append(value)
    return found, at


def _object(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, count, at = _header(data, at)
    found: dict[str, Any] = {}
    read = 0
    while read != count:
        if count is None and data[at] == ord("}"):
            return found, at + 1
        name, at = _text(data, at)
        found[name], at = _typed(data, at, kind, depth + 1) if kind else _value(data, at, depth + 1)
        read += 1
    return found, at


def _header(data: bytes, at: int) -> tuple[str, int | None, int]:
    """The type of all values and their number, where they are told before them."""
    kind = ""
    if data[at] == ord("$"):
        kind, at = chr(data[at + 1]), at + 2
    if data[at] != ord("#"):
        return kind, None, at
    count, at = _value(data, at + 1, 0)
    if not isinstance(count, int) or not 0 <= count <= len(data):
        raise ValueError(f"an array of {count} values")
    return kind, count, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    size, at = _value(data, at, 0)
    return _taken(data, at, size).decode(), at + size


def _taken(data: bytes, at: int, size: int) -> bytes:
    if size < 0 or at + size > len(data):
        raise ValueError(f"it ends before byte {at + size:,}")
    return data[at : at + size]
