"""JSON as tensors, and tensors as JSON: nested lists, texts and bytes in base64, NaN and Infinity."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import msgspec
import numpy as np

from carrara.core.errors import RequestError
from carrara.serving.protocols.tensors import Array

BYTES_SUFFIX = "_bytes"
"""Outputs whose names end so are written in base64."""

_BASE64 = "b64"
_MOST_DIMENSIONS = 32


def decode_json(body: bytes) -> Any:
    """A JSON text, with the tokens NaN and Infinity that Python and TensorFlow Serving write; RequestError else."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if b"NaN" in body or b"Infinity" in body:
            return _lenient(body)
        raise RequestError(f"JSON Parse error: {error}") from error


def _lenient(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"JSON Parse error: {error}") from error


def encode_json(data: Any, *, finite: bool) -> bytes:
    """A JSON text; numbers that are not finite as the tokens NaN and Infinity."""
    return msgspec.json.encode(data) if finite else json.dumps(data, separators=(",", ":")).encode()


def is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and _BASE64 in value


def to_array(name: str, value: Any) -> Array:
    """A value or nested lists of them as an array of objects; of which type is the signature's to say."""
    # An array of texts would be as wide as the longest of them everywhere; objects are not.
    array = np.array(value, dtype=object)
    types = set(map(type, array.ravel()))
    if list in types or array.ndim > _MOST_DIMENSIONS:
        raise RequestError(f"the lists of '{name}' have different lengths, or are too deep", field=name)
    if dict in types:
        plain = [_from_base64(name, one) if isinstance(one, dict) else one for one in array.ravel()]
        made = np.empty(array.size, dtype=object)
        made[:] = plain
        array = made.reshape(array.shape)
    return array


def _from_base64(name: str, value: dict[str, Any]) -> bytes:
    if not is_base64(value) or not isinstance(value[_BASE64], str):
        raise RequestError(f'\'{name}\' has an object that is not {{"b64": "..."}}', field=name)
    text = value[_BASE64]
    try:
        return base64.b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_" if set(text) & set("-_") else None, validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"'{name}' has a text that is not base64: {error}", field=name) from error


def from_array(name: str, array: Array) -> Any:
    """An array as nested lists. Floats go through their own shortest text: 0.1 as float32 is 0.1, not 0.10000000149."""
    kind = array.dtype.kind
    if kind == "c":
        raise RequestError(f"output '{name}' has complex numbers, which JSON has not", hint="Ask over gRPC.")
    if kind in "fV" and array.dtype != np.float64:
        if array.ndim == 1:
            return [float(str(value)) for value in array]
        wide = np.array([float(str(value)) for value in array.ravel()], np.float64)
        return wide.reshape(array.shape).tolist()
    if kind == "O":
        made = np.empty(array.size, dtype=object)
        made[:] = [_text(name, value) for value in array.ravel()]
        return made.reshape(array.shape).tolist()
    if kind == "M":
        return np.datetime_as_string(array, timezone="UTC").tolist()
    return array.tolist()


def _text(name: str, value: Any) -> Any:
    if isinstance(value, str) and not name.endswith(BYTES_SUFFIX):
        return value
    data = value.encode() if isinstance(value, str) else value
    if not name.endswith(BYTES_SUFFIX):
        try:
            return data.decode()
        except UnicodeDecodeError:
            # JSON has no bytes, and what is no UTF-8 would be lost.
            pass
    return {_BASE64: base64.b64encode(data).decode()}


def all_finite(array: Array) -> bool:
    """Whether JSON itself has these numbers."""
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
