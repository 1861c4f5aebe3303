"""The bytes of messages that look alike: where the values of their tensors lie, while all else is the same.

A client that asks again and again sends the same bytes but for the values, as long as shapes stay. Once a message
has been parsed in the ordinary way, the values of others like it are read by their places, a whole batch at once; and
answers are written so. A message that differs in any other byte is not one of them, and goes the ordinary way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.named_columns import Columns

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NAME, _TENSOR = 1, 2
_FEW = 4
_CONTENT, _FLOATS, _DOUBLES, _TEXTS = 4, 5, 6, 8


@dataclass(frozen=True)
class _Span:
    """Where a value of a field is: bytes `start` to `stop` of the message."""

    field: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Numbers:
    """The values of one type: the places of all their bytes, the stretches that these make, and from which to which
    value each tensor goes."""

    dtype: np.dtype[Any]
    places: Array
    spans: Sequence[tuple[int, int]]
    columns: Sequence[tuple[str, int, int]]


class Layout:
    """Where the tensors of a message lie, by name. `arrays` are what the ordinary way has read from it.

    Raises ValueError for a message whose values are not bytes at fixed places, one row after the other.
    """

    def __init__(self, data: bytes, tensors_field: int, arrays: Mapping[str, Array]) -> None:
        spans = _tensors(data, tensors_field)
        if spans.keys() != arrays.keys():
            raise ValueError("a tensor is there twice")
        self.rows = _rows(arrays)
        self._data, self._example = data, np.frombuffer(data, np.uint8)
        self._texts = {name: spans[name] for name, array in arrays.items() if array.dtype == object}
        self._numbers = _by_dtype({name: array for name, array in arrays.items() if array.dtype != object}, spans)
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self._is_one_matrix = len(self._numbers) == 1 and all(
            array.shape == (1,) and array.dtype.kind == "f" for array in arrays.values()
        )
        constant = np.ones(len(data), bool)
        for name, array in arrays.items():
            _check_sizes(array, spans[name])
            for span in spans[name]:
                constant[span.start : span.stop] = False
        self._constant = np.flatnonzero(constant)
        self._expected = self._example[self._constant]
        self._runs = [(start, stop, data[start:stop]) for start, stop in _runs(constant)]
        # By slices where there are few of them, as of one tensor, and by places, all messages at once, where many.
        self._has_few = len(self._runs) <= _FEW

    def matches(self, messages: Sequence[bytes]) -> list[bool]:
        """Which of the messages, all as long as the example, have this layout."""
        if self._has_few:
            return [all(data[start:stop] == same for start, stop, same in self._runs) for data in messages]
        found: list[bool] = (np.take(_stacked(messages), self._constant, axis=1) == self._expected).all(axis=1).tolist()
        return found

    def read(self, messages: Sequence[bytes]) -> Mapping[str, Array]:
        """The tensors of messages with this layout, those of one name joined along their rows; texts as bytes."""
        if self._is_one_matrix:
            return Columns(tuple(self._shapes), self._values(messages, self._numbers[0]))
        count, found = len(messages), {}
        for numbers in self._numbers:
            values = self._values(messages, numbers)
            for name, start, stop in numbers.columns:
                found[name] = values[:, start:stop].reshape(_joined(self._shapes[name], count))
        for name, spans in self._texts.items():
            found[name] = _read_texts(messages, spans).reshape(_joined(self._shapes[name], count))
        return {name: found[name] for name in self._shapes}

    def write(self, arrays: Mapping[str, Array], count: int) -> list[bytes]:
        """`count` messages with this layout that hold the rows of `arrays`, one after the other; numbers only."""
        if len(self._numbers) == 1 and len(self._numbers[0].spans) == 1:
            return self._write_one(arrays, count)
        messages = np.tile(self._example, (count, 1))
        for numbers in self._numbers:
            values = [np.ascontiguousarray(arrays[name], numbers.dtype) for name, _, _ in numbers.columns]
            joined = np.concatenate([one.reshape(count, -1) for one in values], axis=1)
            messages[:, numbers.places] = joined.view(np.uint8)
        data, length = messages.tobytes(), messages.shape[1]
        return [data[at : at + length] for at in range(0, len(data), length)]

    def _write_one(self, arrays: Mapping[str, Array], count: int) -> list[bytes]:
        """As `write`, of a layout with one stretch of values."""
        (numbers,) = self._numbers
        ((name, _, _),), ((start, stop),) = numbers.columns, numbers.spans
        before, after, width = self._data[:start], self._data[stop:], stop - start
        data = np.ascontiguousarray(arrays[name], numbers.dtype).tobytes()
        return [before + data[at : at + width] + after for at in range(0, count * width, width)]

    def _values(self, messages: Sequence[bytes], numbers: _Numbers) -> Array:
        """The numbers of one type, of shape (messages, values)."""
        if not self._has_few:
            return np.take(_stacked(messages), numbers.places, axis=1).view(numbers.dtype)
        # A bytearray, because what reads the array may want to write to it.
        data = bytearray().join([data[start:stop] for data in messages for start, stop in numbers.spans])
        return np.frombuffer(data, numbers.dtype).reshape(len(messages), -1)

    @property
    def has_texts(self) -> bool:
        return bool(self._texts)


def _stacked(messages: Sequence[bytes]) -> Array:
    """Messages of one length as uint8 of shape (messages, length)."""
    return np.frombuffer(b"".join(messages), np.uint8).reshape(len(messages), -1)


def _runs(mask: Array) -> list[tuple[int, int]]:
    """From where to where a mask is true."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _joined(shape: Shape, count: int) -> Shape:
    return (count * shape[0], *shape[1:])


def _rows(arrays: Mapping[str, Array]) -> int:
    rows = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(rows) != 1 or 0 in rows:
        raise ValueError("the tensors have no rows, or not the same number of them")
    return rows.pop()


def _check_sizes(array: Array, spans: Sequence[_Span]) -> None:
    is_text = array.dtype == object
    if not {span.field for span in spans} <= ({_TEXTS} if is_text else {_CONTENT, _FLOATS, _DOUBLES}):
        raise ValueError("the values are of changing width")
    found = len(spans) if is_text else sum(span.stop - span.start for span in spans)
    if found != (array.size if is_text else array.nbytes):
        raise ValueError("one value stands for several")


def _by_dtype(arrays: Mapping[str, Array], spans: Mapping[str, Sequence[_Span]]) -> list[_Numbers]:
    found = []
    for dtype in {array.dtype for array in arrays.values()}:
        stretches: list[tuple[int, int]] = []
        columns, at = [], 0
        for name, array in arrays.items():
            if array.dtype == dtype:
                stretches += [(span.start, span.stop) for span in spans[name]]
                columns.append((name, at, at + array.size))
                at += array.size
        places = np.concatenate([np.arange(start, stop) for start, stop in stretches])
        found.append(_Numbers(dtype, places, stretches, columns))
    return found


def _read_texts(messages: Sequence[bytes], spans: Sequence[_Span]) -> Array:
    texts = np.empty((len(messages), len(spans)), object)
    for place, span in enumerate(spans):
        texts[:, place] = [data[span.start : span.stop] for data in messages]
    return texts


def _tensors(data: bytes, tensors_field: int) -> dict[str, list[_Span]]:
    """The spans of the values of each tensor in the map `tensors_field`."""
    found: dict[str, list[_Span]] = {}
    for entry in _fields(data, 0, len(data)):
        if entry.field != tensors_field:
            continue
        named = list(_fields(data, entry.start, entry.stop))
        parts = {part.field: part for part in named}
        name = data[parts[_NAME].start : parts[_NAME].stop].decode() if _NAME in parts else ""
        if name in found or _TENSOR not in parts or len(parts) != len(named):
            raise ValueError("a tensor is there twice, or not at all")
        inner = _fields(data, parts[_TENSOR].start, parts[_TENSOR].stop)
        found[name] = [span for span in inner if span.field >= _CONTENT]
    return found


def _fields(data: bytes, at: int, end: int) -> Iterator[_Span]:
    """The fields of a message between two places, as protocol buffers encode them."""
    while at < end:
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        start = at
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            length, start = _varint(data, at)
            at = start + length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("a field of an old kind")
        yield _Span(field, start, at)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
