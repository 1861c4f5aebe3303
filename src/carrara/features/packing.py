"""Packing: what a row of the online store looks like, packed and unpacked by whole columns.

A feature view's row is a fixed record: event time and known-at (int64 microseconds), then each feature as
float64 with NaN for missing: times in microseconds since the epoch and dates in days, as a training set's columns
are when they become numbers. An aggregate view's row is the entity's recent events: their number, their times and
when they became known (int64 microseconds), then each column (float64).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import UTC_TIME
from carrara.core.errors import DataError
from carrara.features.offline import EVENT_TIME, KNOWN_AT
from carrara.features.views import FeatureView
from carrara.features.windows import Events

Array = np.ndarray[Any, Any]

_STAMP = struct.Struct("<qq")
_NEVER = (-(1 << 63), -(1 << 63))


def row_type(view: FeatureView) -> np.dtype[Any]:
    """The record of a feature view's row."""
    return np.dtype([("event_time", "<i8"), ("known_at", "<i8"), *((name, "<f8") for name in view.features)])


def pack_rows(view: FeatureView, frame: pl.DataFrame) -> list[bytes]:
    """Each row of a prepared frame as bytes."""
    packed = np.empty(frame.height, dtype=row_type(view))
    packed["event_time"] = frame[EVENT_TIME].dt.timestamp("us").to_numpy()
    packed["known_at"] = frame[KNOWN_AT].dt.timestamp("us").to_numpy()
    for name in view.features:
        packed[name] = _numbers(view, frame[name])
    data, size = packed.tobytes(), packed.dtype.itemsize
    return [data[start : start + size] for start in range(0, len(data), size)]


def unpack_rows(view: FeatureView, rows: Sequence[bytes | None]) -> tuple[Array, Array]:
    """The records of `rows`, and which of them are there; a missing one reads as zeros."""
    dtype = row_type(view)
    empty = bytes(dtype.itemsize)
    records = np.frombuffer(b"".join(row if row is not None else empty for row in rows), dtype=dtype)
    return records, np.fromiter((row is not None for row in rows), dtype=bool, count=len(rows))


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


def _numbers(view: FeatureView, values: pl.Series) -> Array:
    if values.dtype == pl.String:
        raise DataError(
            f"feature '{view.name}:{values.name}' is a string, and online rows hold numbers, booleans and times",
            hint="Encode it as a number in the view's function.",
        )
    if isinstance(values.dtype, pl.Datetime):
        values = values.cast(UTC_TIME).dt.timestamp("us")
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
