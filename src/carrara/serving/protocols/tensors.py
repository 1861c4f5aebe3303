"""Tensors on the wire as NumPy arrays, and back; sizes are checked before anything is allocated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from carrara.core.errors import RequestError
from carrara.serving.protocols.messages import message

Array = np.ndarray[Any, Any]

MAX_ELEMENTS = 1 << 27

_STRING = 7
_HALF = 19
_DTYPES: dict[int, tuple[Any, str]] = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    5: (np.dtype("<i2"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    9: (np.dtype("<i8"), "int64_val"),
    10: (np.dtype("bool"), "bool_val"),
    17: (np.dtype("<u2"), "int_val"),
    19: (np.dtype("<f2"), "half_val"),
    22: (np.dtype("<u4"), "uint32_val"),
    23: (np.dtype("<u8"), "uint64_val"),
}
_NUMBERS = {dtype: number for number, (dtype, _) in _DTYPES.items()}


def from_tensor(name: str, tensor: Any) -> Array:
    """A TensorProto as an array; RequestError names the input whose shape, type or bytes are wrong."""
    shape, size = _shape(name, tensor)
    if tensor.dtype == _STRING:
        return _strings(name, tensor, shape, size)
    if tensor.dtype not in _DTYPES:
        raise RequestError(f"input '{name}' has the type number {tensor.dtype}, which is not supported", field=name)
    dtype, field = _DTYPES[tensor.dtype]
    if tensor.tensor_content:
        if len(tensor.tensor_content) != size * dtype.itemsize:
            found, wanted = len(tensor.tensor_content), size * dtype.itemsize
            raise RequestError(f"input '{name}' has {found} bytes, and its shape needs {wanted}", field=name)
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = getattr(tensor, field)
    if tensor.dtype == _HALF:
        return _filled(name, np.array(values, np.uint16).view(np.float16), shape, size)
    return _filled(name, np.array(values, dtype), shape, size)


def to_tensor(array: Array) -> Any:
    """An array as a TensorProto: numbers as bytes, strings as a list."""
    tensor = message("tensorflow.TensorProto")()
    for length in array.shape:
        tensor.tensor_shape.dim.add().size = length
    if array.dtype == object or array.dtype.kind in "US":
        tensor.dtype = _STRING
        tensor.string_val.extend(str(value).encode() for value in array.ravel())
    else:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        tensor.dtype = _NUMBERS[little.dtype]
        tensor.tensor_content = little.tobytes()
    return tensor


def _shape(name: str, tensor: Any) -> tuple[tuple[int, ...], int]:
    if tensor.tensor_shape.unknown_rank:
        raise RequestError(f"input '{name}' has no known shape", field=name)
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    # Python's integers do not overflow: a shape of 2^40 × 2^40 is seen for what it is.
    size = math.prod(shape)
    if any(length < 0 for length in shape) or size > MAX_ELEMENTS:
        raise RequestError(f"input '{name}' has the shape {list(shape)}, which is not possible here", field=name)
    return shape, size


def _filled(name: str, values: Array, shape: tuple[int, ...], size: int) -> Array:
    """One value stands for all of them, as TensorFlow writes constant tensors."""
    if len(values) == size:
        return values.reshape(shape)
    if len(values) == 1:
        return np.broadcast_to(values, shape)
    raise RequestError(f"input '{name}' has {len(values)} values, and its shape needs {size}", field=name)


def _strings(name: str, tensor: Any, shape: tuple[int, ...], size: int) -> Array:
    try:
        texts = [value.decode() for value in tensor.string_val]
    except UnicodeDecodeError as error:
        raise RequestError(f"input '{name}' has bytes that are not UTF-8: {error}", field=name) from error
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    return _filled(name, values, shape, size)
