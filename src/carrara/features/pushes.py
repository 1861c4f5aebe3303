"""Pushes: rows of a view that are offline and online at once, without waiting for a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from carrara.core.clock import microseconds
from carrara.core.columns import POLARS_TYPES, utc_times
from carrara.core.errors import DataError
from carrara.data.sources.files import read_file
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity, key_bytes
from carrara.features.offline import key_types, push_log
from carrara.features.online import Rows, online_table, rewrite
from carrara.features.packing import RowLayout, newest_rows, pack_events, pack_rows, unpack_events
from carrara.features.rows import EVENT_TIME, KNOWN_AT, event_columns, in_order, pushable
from carrara.features.service import StoredView
from carrara.features.windows import Events, joined
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class Pushed:
    """What one push did: `rows` are in the push log, `entities` were changed online."""

    view: str
    rows: int
    entities: int


def push(stores: Stores, view: StoredView, entity: Entity, rows: Any) -> Pushed:
    """Append rows to a view's push log, then bring its entities up to date online.

    A feature view takes what its function returns, an aggregate view events: keys, times and columns, as a dataframe
    of any kind, a list of mappings, or the address of a file; times may be RFC 3339 texts. They are known from now
    on. Raises DataError, and nothing is written, for rows that are not what the view declares.
    """
    if isinstance(rows, str | Path):
        rows = read_file(str(rows), stores.root)
    frame = pushable(view, entity, as_frame(view, entity, rows), stores.clock(), key_types(stores, view, entity))
    stores.lake.append(push_log(view), frame)
    return Pushed(view.name, frame.height, bring_online(stores, view, entity, frame))


def bring_online(stores: Stores, view: StoredView, entity: Entity, pushed: pl.DataFrame) -> int:
    """Merge rows of one push, which are in the log already, into the online rows of their entities."""
    known = pushed.filter(pl.col(KNOWN_AT) <= stores.clock())
    table = online_table(view, entity)
    if isinstance(view, AggregateView):
        return _merge_events(stores, view, entity, table, known)
    newest = known.sort(EVENT_TIME, KNOWN_AT).group_by(entity.keys, maintain_order=True).last()
    packed = pack_rows(RowLayout.of(view), newest)

    def remade(places: list[int], before: Rows) -> Rows:
        return newest_rows(before, [packed[place] for place in places])

    return rewrite(stores.online, table, key_bytes(newest, entity.keys), remade)


def as_frame(view: StoredView, entity: Entity, rows: Any) -> pl.DataFrame:
    """Rows of any kind as a frame, with the times of a view in UTC and its features in their types."""
    frame = _as_polars(rows, view, entity)
    for column in dict.fromkeys((view.event_time, view.created_time or view.event_time)):
        if column in frame.columns and frame[column].dtype == pl.String:
            frame = frame.with_columns(utc_times(frame[column], f"what was pushed to feature view '{view.name}'"))
    types = {name: POLARS_TYPES[type_] for name, type_ in view.feature_types.items()}
    types = dict.fromkeys(view.columns, pl.Float64()) if isinstance(view, AggregateView) else types
    # JSON has no times, and a column of nulls alone has no type.
    for column, dtype in types.items():
        found = frame.schema.get(column)
        if found == pl.Null or (found == pl.String and dtype.is_temporal()):
            frame = frame.with_columns(_cast(frame[column], dtype, view))
    return frame


def _as_polars(rows: Any, view: StoredView, entity: Entity) -> pl.DataFrame:
    if isinstance(rows, pl.DataFrame):
        return rows
    try:
        if isinstance(rows, Mapping) or (isinstance(rows, Iterable) and not hasattr(rows, "columns")):
            data = [rows] if isinstance(rows, Mapping) else list(rows)
            _refuse_mixed_keys(data, view, entity)
            return pl.DataFrame(data, infer_schema_length=None, orient="row")
        frame: pl.DataFrame = nw.from_native(rows, eager_only=True).to_polars()
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"what was pushed to feature view '{view.name}' is no table: {error}",
            hint="Push a dataframe, or a list of mappings, one a row.",
        ) from error
    return frame


def _refuse_mixed_keys(rows: list[Any], view: StoredView, entity: Entity) -> None:
    """A frame would make a text of a number that stands beside one."""
    for key in entity.keys:
        kinds = {type(row.get(key)) for row in rows if isinstance(row, Mapping)} - {type(None)}
        if len(kinds) > 1:
            raise DataError(
                f"the key '{key}' of what was pushed to feature view '{view.name}' has values of several types: "
                f"{', '.join(sorted(kind.__name__ for kind in kinds))}"
            )


def _cast(values: pl.Series, dtype: pl.DataType, view: StoredView) -> pl.Series:
    if isinstance(dtype, pl.Datetime) and values.dtype == pl.String:
        return utc_times(values, f"what was pushed to feature view '{view.name}'")
    return values.cast(dtype)


def _merge_events(stores: Stores, view: AggregateView, entity: Entity, table: str, known: pl.DataFrame) -> int:
    since = stores.clock() - timedelta(microseconds=view.longest_window)
    recent = known.filter(pl.col(EVENT_TIME) > since).sort(in_order(view, entity))
    keys = recent.select(entity.keys).unique(maintain_order=True)

    def remade(places: list[int], before: Rows) -> Rows:
        found = keys[places].with_row_index("__code").join(recent, on=list(entity.keys), maintain_order="left_right")
        added = Events(found["__code"].cast(pl.Int64).to_numpy(), *event_columns(view, found))
        there = unpack_events(view.columns, before)
        # What a writer has found in the log meanwhile, or this very push before it was overtaken, is not counted again.
        kept = there[(there.times > microseconds(since)) & ~np.isin(_records(there), _records(added))]
        return pack_events(joined(kept, added), len(places))

    return rewrite(stores.online, table, key_bytes(keys, entity.keys), remade)


def _records(events: Events) -> np.ndarray[Any, Any]:
    """Each event with all that tells it apart, as one comparable value."""
    parts = [events.codes, events.times, events.known, *(values.view(np.int64) for values in events.columns.values())]
    return np.ascontiguousarray(np.stack(parts, axis=1)).view(f"V{8 * len(parts)}").ravel()
