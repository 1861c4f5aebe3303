"""Packing: what a row of the online store looks like, packed and unpacked by whole columns.

A feature view's row is a fixed record: event time and known-at (int64 microseconds), then each feature as
float64 with NaN for missing: times in microseconds since the epoch and dates in days, as a training set's columns
are when they become numbers; behind it the texts. An aggregate view's row is the entity's recent events: their
number, their times and when they became known (int64 microseconds), then each column (float64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import UTC_TIME
from carrara.features.rows import EVENT_TIME, KNOWN_AT
from carrara.features.views import FeatureView
from carrara.features.windows import Events

Array = np.ndarray[Any, Any]

_STAMP = struct.Struct("<qq")

NO_TIME: int = np.iinfo(np.int64).min
"""How NumPy writes a missing time."""

_NEVER = (NO_TIME, NO_TIME)
_NEVER_KNOWN: int = np.iinfo(np.int64).max
_NAN, _NO_TEXT = struct.pack("<d", float("nan")), struct.pack("<i", -1)


@dataclass(frozen=True)
class RowLayout:
    """Where a feature view's row holds what: `numbers` and `texts` in the order in which they are packed."""

    view: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, view: FeatureView) -> RowLayout:
        types = view.feature_types
        texts = tuple(name for name, type_ in types.items() if type_ == "string")
        return cls(view.name, tuple(name for name in types if name not in texts), texts)

    @property
    def fixed(self) -> int:
        """The bytes of the part that every row has."""
        return 8 * (2 + len(self.numbers))

    @property
    def nothing(self) -> bytes:
        """A row that became known never, and has no values."""
        return _STAMP.pack(NO_TIME, _NEVER_KNOWN) + _NAN * len(self.numbers) + _NO_TEXT * len(self.texts)


@dataclass(frozen=True)
class UnpackedRows:
    """Rows by columns: `there` says which were packed at all, `numbers` has shape (rows, numbers of the layout)."""

    there: Array
    event_times: Array
    known_at: Array
    numbers: Array
    texts: dict[str, Array]


def pack_rows(layout: RowLayout, frame: pl.DataFrame) -> list[bytes]:
    """Each row of a prepared frame as bytes."""
    packed = np.empty((frame.height, 2 + len(layout.numbers)), dtype="<f8")
    packed.view("<i8")[:, 0] = frame[EVENT_TIME].dt.timestamp("us").to_numpy()
    packed.view("<i8")[:, 1] = frame[KNOWN_AT].dt.timestamp("us").to_numpy()
    for place, name in enumerate(layout.numbers, start=2):
        packed[:, place] = _numbers(frame[name])
    data, size = packed.tobytes(), layout.fixed
    rows = [data[start : start + size] for start in range(0, len(data), size)]
    return [row + tail for row, tail in zip(rows, _tails(layout, frame), strict=True)] if layout.texts else rows


def unpack_rows(layout: RowLayout, rows: Sequence[bytes | None]) -> UnpackedRows:
    """The columns of packed rows; one that is not there reads as zeros and empty texts."""
    size = layout.fixed
    if None in rows:
        there = np.fromiter((row is not None for row in rows), dtype=bool, count=len(rows))
        found = [row if row is not None else bytes(size + 4 * len(layout.texts)) for row in rows]
    else:
        there, found = np.ones(len(rows), dtype=bool), list(rows)  # type: ignore[arg-type]
    fixed = b"".join([row[:size] for row in found] if layout.texts else found)
    numbers = np.frombuffer(fixed, "<f8").reshape(len(rows), 2 + len(layout.numbers))
    times = numbers.view("<i8")
    return UnpackedRows(there, times[:, 0], times[:, 1], numbers[:, 2:], _texts(layout, found) if layout.texts else {})


def side_by_side(layouts: Sequence[RowLayout], rows: Sequence[Sequence[bytes | None]]) -> Array:
    """The fixed parts of several views' rows beside each other, float64 of shape (rows, all of a row's parts).

    A part that is not there became known never.
    """
    parts = [_fixed(layout, some) for layout, some in zip(layouts, rows, strict=True)]
    data = b"".join(parts[0] if len(parts) == 1 else chain.from_iterable(zip(*parts, strict=True)))
    return np.frombuffer(data, "<f8").reshape(len(parts[0]), sum(layout.fixed for layout in layouts) // 8)


def _fixed(layout: RowLayout, rows: Sequence[bytes | None]) -> Sequence[bytes]:
    nothing = layout.nothing if None in rows else b""
    if layout.texts:
        return [(nothing if row is None else row)[: layout.fixed] for row in rows]
    return [nothing if row is None else row for row in rows]


def unpack_texts(layout: RowLayout, rows: Sequence[bytes | None]) -> dict[str, Array]:
    """The texts of rows, None where there is none."""
    nothing = layout.nothing if None in rows else b""
    return _texts(layout, [nothing if row is None else row for row in rows])


def _tails(layout: RowLayout, frame: pl.DataFrame) -> Iterator[bytes]:
    """The lengths of a row's texts (int32, -1 for missing), and the texts in UTF-8."""
    for texts in frame.select(layout.texts).iter_rows():
        encoded = [None if text is None else text.encode() for text in texts]
        lengths = [-1 if text is None else len(text) for text in encoded]
        yield struct.pack(f"<{len(lengths)}i", *lengths) + b"".join(text or b"" for text in encoded)


def _texts(layout: RowLayout, rows: Sequence[bytes]) -> dict[str, Array]:
    head = struct.Struct(f"<{len(layout.texts)}i")
    columns = [np.empty(len(rows), dtype=object) for _ in layout.texts]
    for place, row in enumerate(rows):
        start = layout.fixed + head.size
        for column, length in zip(columns, head.unpack_from(row, layout.fixed), strict=True):
            if length >= 0:
                column[place] = row[start : start + length].decode()
                start += length
    return dict(zip(layout.texts, columns, strict=True))


def newest_rows(before: Sequence[bytes | None], after: Sequence[bytes | None]) -> list[bytes | None]:
    """Of two rows of each key the one with the later event time, then known-at; of equal ones that of `after`."""
    return [new if _stamp(new) >= _stamp(old) else old for old, new in zip(before, after, strict=True)]


def _stamp(row: bytes | None) -> tuple[int, int]:
    return _NEVER if row is None else _STAMP.unpack_from(row)


def pack_events(events: Events, entities: int) -> list[bytes | None]:
    """The events of each entity 0, 1, … in order of time, as bytes; None for one without."""
    ends = np.searchsorted(events.codes, np.arange(entities + 1)) * 8
    columns = [column.astype("<f8").tobytes() for column in events.columns.values()]
    parts = [events.times.astype("<i8").tobytes(), events.known.astype("<i8").tobytes(), *columns]
    heads = (np.diff(ends) // 8).astype("<i8").tobytes()
    return [
        heads[8 * code : 8 * code + 8] + b"".join([part[start:end] for part in parts]) if end > start else None
        for code, (start, end) in enumerate(pairwise(ends.tolist()))
    ]


def unpack_events(names: Sequence[str], rows: Sequence[bytes | None]) -> Events:
    """The events of several entities; the code of an entity is its place in `rows`."""
    there = [row for row in rows if row is not None]
    lengths = np.array([0 if row is None else int.from_bytes(row[:8], "little") for row in rows], dtype=np.int64)
    numbers = [np.frombuffer(row, "<i8", offset=8).reshape(len(names) + 2, -1) for row in there]
    joined = np.concatenate(numbers, axis=1) if numbers else np.empty((len(names) + 2, 0), np.int64)
    columns = {name: joined[place].view(np.float64) for place, name in enumerate(names, start=2)}
    return Events(np.repeat(np.arange(len(rows)), lengths), joined[0], joined[1], columns)


def _numbers(values: pl.Series) -> Array:
    if isinstance(values.dtype, pl.Datetime):
        values = values.cast(UTC_TIME).dt.timestamp("us")
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
