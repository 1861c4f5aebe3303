"""Tensors on the wire as NumPy arrays, and back; sizes are checked before anything is allocated."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from carrara.core.errors import RequestError
from carrara.serving.protocols.messages import message

Array = np.ndarray[Any, Any]

MAX_ELEMENTS = 1 << 27
"""Of a tensor whose bytes are all there."""

MAX_FILLED_BYTES = 64 << 20
"""Of a tensor that one value stands for: a few bytes on the wire must not become gigabytes here."""

_MOST_DIMENSIONS = 32
STRING = 7
_COMPLEX = {"scomplex_val", "dcomplex_val"}
DTYPES: dict[int, tuple[Any, str]] = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    5: (np.dtype("<i2"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    8: (np.dtype("<c8"), "scomplex_val"),
    9: (np.dtype("<i8"), "int64_val"),
    10: (np.dtype("bool"), "bool_val"),
    14: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    17: (np.dtype("<u2"), "int_val"),
    18: (np.dtype("<c16"), "dcomplex_val"),
    19: (np.dtype("<f2"), "half_val"),
    22: (np.dtype("<u4"), "uint32_val"),
    23: (np.dtype("<u8"), "uint64_val"),
}
"""TensorFlow's number of a type: how it lies in memory, and the field that lists its elements."""

NUMBERS = {dtype: number for number, (dtype, _) in DTYPES.items()}


def from_tensor(name: str, tensor: Any) -> Array:
    """A TensorProto as an array, texts as bytes; RequestError names the input whose shape, type or bytes are wrong."""
    shape, size = _shape(name, tensor)
    if tensor.dtype == STRING:
        return _strings(name, tensor, shape, size)
    if tensor.dtype not in DTYPES:
        raise RequestError(f"input '{name}' has the type number {tensor.dtype}, which is not supported", field=name)
    dtype, field = DTYPES[tensor.dtype]
    # Each look at the field copies its bytes.
    if content := tensor.tensor_content:
        if len(content) != size * dtype.itemsize:
            found, wanted = len(content), size * dtype.itemsize
            raise RequestError(f"input '{name}' has {found} bytes, and its shape needs {wanted}", field=name)
        return np.frombuffer(content, dtype).reshape(shape)
    return _filled(name, _listed(name, getattr(tensor, field), dtype, field), shape, size)


def _listed(name: str, values: Any, dtype: Any, field: str) -> Array:
    if field == "half_val":
        return np.array(values, np.int32).astype(np.uint16).view(dtype)
    if field == "int_val":
        # The wire has 32 bits for the narrow types; TensorFlow keeps the low ones.
        return np.array(values, np.int32).astype(dtype)
    if field in _COMPLEX:
        if len(values) % 2:
            raise RequestError(f"input '{name}' has a real part without its imaginary one", field=name)
        return np.array(values, f"<f{dtype.itemsize // 2}").view(dtype)
    return np.array(values, dtype)


def to_tensor(array: Array) -> Any:
    """An array as a TensorProto: numbers as bytes, strings as a list."""
    tensor = message("tensorflow.TensorProto")()
    for length in array.shape:
        tensor.tensor_shape.dim.add().size = length
    if array.dtype == object or array.dtype.kind in "US":
        tensor.dtype = STRING
        tensor.string_val.extend(map(as_bytes, array.ravel()))
    else:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        tensor.dtype = NUMBERS[little.dtype]
        tensor.tensor_content = little.tobytes()
    return tensor


def _shape(name: str, tensor: Any) -> tuple[tuple[int, ...], int]:
    if tensor.tensor_shape.unknown_rank:
        raise RequestError(f"input '{name}' has no known shape", field=name)
    shape = checked_shape(name, tuple(dim.size for dim in tensor.tensor_shape.dim))
    return shape, math.prod(shape)


def checked_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that can be; RequestError before anything is made of it."""
    # Python's integers do not overflow: a shape of 2^40 × 2^40 is seen for what it is.
    sizes = (*shape, math.prod(shape))
    if min(sizes) < 0 or max(sizes) > MAX_ELEMENTS or len(shape) > _MOST_DIMENSIONS:
        raise RequestError(f"input '{name}' has the shape {list(shape)}, which is not possible here", field=name)
    return shape


def _filled(name: str, values: Array, shape: tuple[int, ...], size: int) -> Array:
    """One value stands for all of them, as TensorFlow writes constant tensors."""
    if len(values) == size:
        return values.reshape(shape)
    if len(values) == 1 and size * values.itemsize <= MAX_FILLED_BYTES:
        return np.broadcast_to(values, shape)
    raise RequestError(f"input '{name}' has {len(values)} values, and its shape needs {size}", field=name)


def _strings(name: str, tensor: Any, shape: tuple[int, ...], size: int) -> Array:
    values = np.empty(len(tensor.string_val), dtype=object)
    values[:] = list(tensor.string_val)
    return _filled(name, values, shape, size)


def as_bytes(value: Any) -> bytes:
    """A text as it goes over a wire: bytes as they are, anything else as UTF-8."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def as_texts(array: Array) -> Array:
    """An array of bytes as one of texts; as it is where one of them is no UTF-8."""
    try:
        texts = [value.decode() for value in array.ravel()]
    except (AttributeError, UnicodeDecodeError):
        return array
    made = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made.reshape(array.shape)
