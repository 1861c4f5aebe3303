"""The rows of a view: checked and typed, joined with what was pushed, and prepared so that a later join is a search.

Prepared means sorted by entity key and the time a row became known, and without the rows that no moment could
ever see: a late row that is older than what was known already. All of it is done entity by entity, so that parts
of a table that hold whole entities can be prepared by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import (
    POLARS_TYPES,
    UTC_TIME,
    require_column,
    require_number,
    require_time,
    type_name,
)
from carrara.core.errors import ColumnTypeMismatch, DataError
from carrara.core.hashing import hash_texts
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.service import StoredView
from carrara.features.views import FeatureView

Array = np.ndarray[Any, Any]

EVENT_TIME = "__event_time"
KNOWN_AT = "__known_at"
CREATED = "__created"


def prepared(view: StoredView, entity: Entity, rows: pl.DataFrame, pushed: pl.DataFrame | None) -> pl.DataFrame:
    """Typed rows of whole entities, and what was pushed to them, as a feature table holds them."""
    if isinstance(view, FeatureView):
        refuse_duplicates(rows, view, entity, place_of(view))
    if pushed is not None:
        rows = with_pushed(view, entity, rows, pushed)
    return _in_prepared_order(view, entity, rows)


def place_of(view: StoredView) -> str:
    """Where an error in a view's rows is to be looked for."""
    if isinstance(view, AggregateView):
        return f"dataset '{view.source}' (read by aggregate view '{view.name}')"
    return f"feature view '{view.name}'"


def stored_columns(view: StoredView) -> list[str]:
    """The columns of a view's table beside keys and times."""
    return list(view.columns if isinstance(view, AggregateView) else view.features)


def typed_rows(view: StoredView, entity: Entity, rows: pl.DataFrame | pl.LazyFrame, where: str) -> pl.DataFrame:
    """Keys, features (or columns), EVENT_TIME, KNOWN_AT and CREATED, without rows that lack a key or a time."""
    schema = rows.collect_schema()
    created = view.created_time or view.event_time
    for column in (view.event_time, created):
        require_time(schema, column, where)
    keys = entity_keys(rows, entity, where)
    features = _numbers(schema, view, where) if isinstance(view, AggregateView) else _typed(schema, view, where)
    times = {EVENT_TIME: pl.col(view.event_time).cast(UTC_TIME), CREATED: pl.col(created).cast(UTC_TIME)}
    return (
        rows.lazy()
        .select(*keys, *features, **times)
        .drop_nulls([*keys, *times])
        .with_columns(pl.max_horizontal(EVENT_TIME, CREATED).alias(KNOWN_AT))
        .collect()
    )


def with_pushed(view: StoredView, entity: Entity, computed: pl.DataFrame, pushed: pl.DataFrame) -> pl.DataFrame:
    """Computed and pushed rows in one frame; an event that the dataset has as well is one event."""
    if isinstance(view, AggregateView):
        same = [*entity.keys, EVENT_TIME, *view.columns]
        pushed = pushed.join(computed, on=same, how="anti", nulls_equal=True)
    return pl.concat([computed, pushed.select(computed.columns).cast(computed.schema)])


def pushable(
    view: StoredView,
    entity: Entity,
    rows: pl.DataFrame,
    at: datetime,
    keys: Mapping[str, pl.DataType],
    *,
    last_wins: bool = False,
) -> pl.DataFrame:
    """Rows of a view as its push log holds them: known from `at` on, or from their event time where that is later.

    `keys` are the types that the view's keys have already. Of several rows for one key and time the last one counts
    with `last_wins`, and all are refused without.
    """
    where = f"what was pushed to feature view '{view.name}'"
    for column in (*entity.keys, view.event_time, view.created_time or view.event_time):
        if require_column(rows.schema, column, where) != pl.Null and not rows[column].has_nulls():
            continue
        raise DataError(f"{where} has rows without '{column}'", hint="Each row needs its keys and its times.")
    typed = typed_rows(view, entity, rows, where)
    for name, dtype in keys.items():
        if typed.schema[name] != dtype and not (typed.schema[name].is_integer() and dtype.is_integer()):
            raise ColumnTypeMismatch(name, where, type_name(dtype), type_name(typed.schema[name]))
    if isinstance(view, FeatureView):
        if last_wins:
            typed = typed.unique([*entity.keys, EVENT_TIME, CREATED], keep="last", maintain_order=True)
        refuse_duplicates(typed, view, entity, where)
    typed = typed.with_columns(pl.max_horizontal(KNOWN_AT, pl.lit(at, UTC_TIME)).alias(KNOWN_AT))
    return typed.with_columns(pl.col(name).cast(dtype) for name, dtype in keys.items())


def readable(view: StoredView, entity: Entity, pushed: pl.LazyFrame) -> pl.DataFrame:
    """Pushed rows as this definition of the view reads them; of other definitions only what has its columns."""
    columns = {name: POLARS_TYPES[view.feature_types[name]] for name in getattr(view, "features", ())}
    columns = columns or {name: pl.Float64() for name in stored_columns(view)}
    schema = pushed.collect_schema()
    if missing := [name for name in (*entity.keys, *columns) if name not in schema]:
        raise DataError(
            f"what was pushed to feature view '{view.name}' before has no {', '.join(missing)}",
            hint="A view with other columns needs another name, so that what was pushed stays readable.",
        )
    typed = [pl.col(name).cast(dtype) for name, dtype in columns.items()]
    return pushed.select(*entity.keys, *typed, EVENT_TIME, CREATED, KNOWN_AT).collect()


def event_columns(view: AggregateView, events: pl.DataFrame) -> tuple[Array, Array, dict[str, Array]]:
    """The times and known-ats (int64 microseconds), and the columns (float64 with NaN), of events."""
    times, known = (events[name].dt.timestamp("us").to_numpy() for name in (EVENT_TIME, KNOWN_AT))
    return times, known, {name: events[name].fill_null(float("nan")).to_numpy() for name in view.columns}


def in_order(view: AggregateView, entity: Entity) -> list[str]:
    """What events are sorted by: ties are broken, so that `last` does not hang on the order of reading."""
    return [*entity.keys, EVENT_TIME, KNOWN_AT, *view.columns]


def entity_keys(frame: pl.DataFrame | pl.LazyFrame, entity: Entity, where: str) -> tuple[str, ...]:
    """The entity's keys, checked to be there; floats and times are no keys."""
    schema = frame.collect_schema()
    for key in entity.keys:
        dtype = require_column(schema, key, where)
        if not (dtype == pl.String or dtype.is_integer()):
            raise ColumnTypeMismatch(key, where, f"a key of entity '{entity.name}' (string or int64)", type_name(dtype))
    return entity.keys


def refuse_duplicates(frame: pl.DataFrame, view: FeatureView, entity: Entity, where: str) -> None:
    told_apart = [*entity.keys, EVENT_TIME, CREATED]
    twice = frame.select(told_apart).is_duplicated()
    if twice.any():
        times = {view.event_time: EVENT_TIME, view.created_time or view.event_time: CREATED}
        shown = [pl.col(column).alias(name) for name, column in times.items()]
        example = frame.filter(twice).select(*entity.keys, *shown).row(0, named=True)
        raise DataError(
            f"{where} has several rows for one key and time: {example}",
            hint="Aggregate them in its function, or name a created_time that tells them apart.",
        )


def _in_prepared_order(view: StoredView, entity: Entity, frame: pl.DataFrame) -> pl.DataFrame:
    if isinstance(view, AggregateView):
        return frame.drop(CREATED).sort(in_order(view, entity))
    return (
        frame.sort(*entity.keys, KNOWN_AT, EVENT_TIME, CREATED)
        .filter(pl.col(EVENT_TIME) >= pl.col(EVENT_TIME).cum_max().over(entity.keys))
        # Of rows that became known at one moment only the last is ever seen: no later join has a tie to break.
        .unique([*entity.keys, KNOWN_AT], keep="last", maintain_order=True)
        .drop(CREATED)
    )


def _typed(schema: pl.Schema, view: FeatureView, where: str) -> Iterator[pl.Expr]:
    for name, declared in view.feature_types.items():
        found = require_column(schema, name, where)
        widened = found.is_integer() and declared in ("float64", "float32", "int64")
        if type_name(found) != declared and not widened and not found == pl.Null:
            raise ColumnTypeMismatch(name, where, declared, type_name(found))
        yield pl.col(name).cast(POLARS_TYPES[declared])


def _numbers(schema: pl.Schema, view: AggregateView, where: str) -> Iterator[pl.Expr]:
    for column in view.columns:
        dtype = require_column(schema, column, where)
        if dtype == pl.String and view.functions_of(column) == {"distinct"}:
            # Texts are only told apart: 52 bits of a hash do, and are a number.
            yield pl.col(column).map_batches(_told_apart, return_dtype=pl.Float64())
            continue
        require_number(schema, column, where)
        # A missing number is one thing, so that the order of events is the same wherever they are kept.
        yield pl.col(column).cast(pl.Float64).fill_nan(None)


def _told_apart(texts: pl.Series) -> pl.Series:
    there = texts.is_not_null().to_numpy()
    found = np.full(len(texts), np.nan)
    found[there] = hash_texts(texts.drop_nulls()) >> np.uint64(12)
    return pl.Series(texts.name, found).fill_nan(None)
