"""Packing: what a row of the online store looks like, packed and unpacked by whole columns.

A feature view's row is a fixed record: event time and known-at (int64 microseconds), then each feature as
float64 with NaN for missing: times in microseconds since the epoch and dates in days, as a training set's columns
are when they become numbers. An aggregate view's row is the entity's recent events: their number, their times
(int64 microseconds), then each column (float64).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import UTC_TIME
from carrara.core.errors import DataError
from carrara.features.offline import EVENT_TIME, KNOWN_AT
from carrara.features.views import FeatureView
from carrara.features.windows import Events

Array = np.ndarray[Any, Any]


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


def pack_events(times: Array, columns: Mapping[str, Array]) -> bytes:
    """The events of one entity, in order of time, as bytes."""
    head = np.array([len(times)], dtype="<i8").tobytes()
    return head + times.astype("<i8").tobytes() + b"".join(c.astype("<f8").tobytes() for c in columns.values())


def unpack_events(names: Sequence[str], rows: Sequence[bytes | None]) -> Events:
    """The events of several entities; the code of an entity is its place in `rows`."""
    codes, times, columns = [], [], {name: [] for name in names}  # type: ignore[var-annotated]
    for code, row in enumerate(rows):
        if row is None:
            continue
        length = int(np.frombuffer(row, "<i8", 1)[0])
        codes.append(np.full(length, code))
        times.append(np.frombuffer(row, "<i8", length, 8))
        for place, name in enumerate(names, start=1):
            columns[name].append(np.frombuffer(row, "<f8", length, 8 + 8 * length * place))
    return Events(
        _joined(codes, np.int64),
        _joined(times, np.int64),
        {n: _joined(c, np.float64) for n, c in columns.items()},
    )


def _joined(parts: list[Array], dtype: type[Any]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _numbers(view: FeatureView, values: pl.Series) -> Array:
    if values.dtype == pl.String:
        raise DataError(
            f"feature '{view.name}:{values.name}' is a string, and online rows hold numbers, booleans and times",
            hint="Encode it as a number in the view's function.",
        )
    if isinstance(values.dtype, pl.Datetime):
        values = values.cast(UTC_TIME).dt.timestamp("us")
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
