"""Feature tables: a view's rows in the lake, prepared once so that every later join is a merge.

Prepared means sorted by entity key and the time a row became known, and without the rows that no moment could
ever see: a late row that is older than what was known already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import narwhals as nw
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
from carrara.core.definitions import Definitions
from carrara.core.digests import digest_data
from carrara.core.errors import ColumnTypeMismatch, DataError
from carrara.core.hashing import hash_texts
from carrara.core.html import html_table
from carrara.data import dataset_version, read_dataset
from carrara.data.column_statistics import column_statistics
from carrara.data.ingest import collect
from carrara.data.table_digest import digest_frame
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.query import query
from carrara.features.service import StoredView, definition_digest
from carrara.features.views import FeatureView
from carrara.metadata.runs import run
from carrara.metadata.versions import Version, add_version, find_version, list_versions
from carrara.storage import Stores

Array = np.ndarray[Any, Any]

KIND = "feature_table"
EVENT_TIME = "__event_time"
KNOWN_AT = "__known_at"
_CREATED = "__created"


@dataclass(frozen=True)
class FeatureTable:
    """One computed version of a view's table; `definition` is the digest of the view's spec, `pushes` the version of
    the view's push log that went into it."""

    view: str
    version: int
    definition: str
    digest: str
    rows: int
    statistics: dict[str, Any]
    lake_version: int
    computed_at: datetime
    pushes: int | None = None
    reused: bool = False

    @property
    def address(self) -> str:
        return f"{KIND}:{self.view}@{self.version}"

    def _repr_html_(self) -> str:
        rows = [(name, s["type"], s["nulls"], s["distinct"]) for name, s in self.statistics.items()]
        return html_table(f"{self.view}, {self.rows:,} rows", ["column", "type", "nulls", "distinct"], rows)


def compute_feature_table(stores: Stores, definitions: Definitions, view: StoredView) -> FeatureTable:
    """Compute a view over the newest version of its dataset and what was pushed to it, unless exactly that is in the
    lake already."""
    entity = definitions.get("entity", view.entity, Entity, where=f"feature view '{view.name}'")
    source, pushes = dataset_version(stores, view.source), stores.lake.compact(push_log(view))
    key = digest_data([definition_digest(view), entity.spec(), source.digest, pushes])
    newest = _newest_of(stores, view)
    if newest is not None and newest.record["key"] == key:
        return _table(newest, reused=True)
    with run(stores.metadata, "compute", view.name, {"dataset": [source.name, source.version]}) as run_id:
        frame = _computed(view, entity, read_dataset(stores, source.name, source.version))
        if pushes is not None:
            frame = with_pushed(view, entity, frame, _readable(view, entity, stores.lake.scan(push_log(view), pushes)))
        frame = _prepared(view, entity, frame)
        record = {
            "key": key,
            "definition": definition_digest(view),
            "rows": frame.height,
            "statistics": column_statistics(frame.select(list(_stored_columns(view)))),
            "lake_version": stores.lake.write(lake_table(view.name), frame),
            "pushes": pushes,
        }
        sources, digest = [source.address], digest_frame(frame)
        made = add_version(
            stores.metadata, KIND, view.name, digest=digest, run_id=run_id, record=record, sources=sources
        )
    return _table(made)


def current_table(stores: Stores, view: StoredView) -> FeatureTable:
    """The newest table of exactly this definition; DataError when it was not computed."""
    newest = newest_table(stores, view)
    if newest is not None:
        return newest
    raise DataError(
        f"feature view '{view.name}' has not been computed as it is defined now",
        hint=f"carrara feature compute {view.name}",
    )


def newest_table(stores: Stores, view: StoredView) -> FeatureTable | None:
    """The newest table of exactly this definition, where there is one."""
    found = _newest_of(stores, view)
    return _table(found) if found is not None else None


def former_table(stores: Stores, view: StoredView, version: int | None) -> FeatureTable | None:
    """A version of a view's table, where there is one."""
    found = find_version(stores.metadata, KIND, view.name, version) if version else None
    return _table(found) if found is not None else None


def list_feature_tables(stores: Stores) -> list[FeatureTable]:
    """Every version of every feature table, oldest first."""
    return [_table(found) for found in list_versions(stores.metadata, KIND)]


def scan_table(stores: Stores, table: FeatureTable) -> pl.LazyFrame:
    """The prepared rows: keys, EVENT_TIME, KNOWN_AT, and the features (or an aggregate view's columns)."""
    return stores.lake.scan(lake_table(table.view), table.lake_version)


def whole_number_keys(stores: Stores, entity: Entity, table: FeatureTable) -> tuple[str, ...]:
    """The entity's keys that are whole numbers in this table; the others are texts."""
    schema = scan_table(stores, table).collect_schema()
    return tuple(key for key in entity.keys if schema[key].is_integer())


def read_pushed(stores: Stores, view: StoredView, entity: Entity, table: FeatureTable) -> pl.DataFrame | None:
    """What was pushed to a view since its table was computed, in the columns of `scan_table`; None for nothing."""
    log = push_log(view)
    newest = stores.lake.newest(log)
    if newest is None or newest == table.pushes:
        return None
    return _readable(view, entity, stores.lake.scan_appended(log, after=table.pushes)).drop(_CREATED)


def lake_table(view: str) -> str:
    return f"features/{view}"


def push_log(view: StoredView) -> str:
    """The lake's table of all that was ever pushed to a view of this name."""
    return f"pushes/{view.name}"


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
    typed = _typed_rows(view, entity, rows, where)
    for name, dtype in keys.items():
        if typed.schema[name] != dtype and not (typed.schema[name].is_integer() and dtype.is_integer()):
            raise ColumnTypeMismatch(name, where, type_name(dtype), type_name(typed.schema[name]))
    if isinstance(view, FeatureView):
        if last_wins:
            typed = typed.unique([*entity.keys, EVENT_TIME, _CREATED], keep="last", maintain_order=True)
        _refuse_duplicates(typed, view, entity, where)
    typed = typed.with_columns(pl.max_horizontal(KNOWN_AT, pl.lit(at, UTC_TIME)).alias(KNOWN_AT))
    return typed.with_columns(pl.col(name).cast(dtype) for name, dtype in keys.items())


def key_types(stores: Stores, view: StoredView, entity: Entity) -> dict[str, pl.DataType]:
    """The types that a view's keys have in its push log or its table; none where there is neither."""
    table = newest_table(stores, view)
    if stores.lake.exists(push_log(view)):
        schema = stores.lake.scan(push_log(view)).collect_schema()
    elif table is not None:
        schema = scan_table(stores, table).collect_schema()
    else:
        return {}
    return {key: schema[key] for key in entity.keys}


def with_pushed(view: StoredView, entity: Entity, computed: pl.DataFrame, pushed: pl.DataFrame) -> pl.DataFrame:
    """Computed and pushed rows in one frame; an event that the dataset has as well is one event."""
    if isinstance(view, AggregateView):
        same = [*entity.keys, EVENT_TIME, *view.columns]
        pushed = pushed.join(computed, on=same, how="anti", nulls_equal=True)
    return pl.concat([computed, pushed.select(computed.columns).cast(computed.schema)])


def event_columns(view: AggregateView, events: pl.DataFrame) -> tuple[Array, Array, dict[str, Array]]:
    """The times and known-ats (int64 microseconds), and the columns (float64 with NaN), of events."""
    times, known = (events[name].dt.timestamp("us").to_numpy() for name in (EVENT_TIME, KNOWN_AT))
    return times, known, {name: events[name].fill_null(float("nan")).to_numpy() for name in view.columns}


def in_order(view: AggregateView, entity: Entity) -> list[str]:
    """What events are sorted by: ties are broken, so that `last` does not hang on the order of reading."""
    return [*entity.keys, EVENT_TIME, KNOWN_AT, *view.columns]


def _newest_of(stores: Stores, view: StoredView) -> Version | None:
    """The newest table of exactly this definition: a model may still read a former one, beside the newest."""
    definition, found = definition_digest(view), list_versions(stores.metadata, KIND, view.name)
    return next((one for one in reversed(found) if one.record["definition"] == definition), None)


def _computed(view: StoredView, entity: Entity, source: pl.LazyFrame) -> pl.DataFrame:
    where = f"feature view '{view.name}'"
    if isinstance(view, AggregateView):
        return _typed_rows(view, entity, source, f"dataset '{view.source}' (read by aggregate view '{view.name}')")
    if view.function is None:
        frame = query(view.sql, {view.source: source}, where)
    else:
        frame = collect(view.function, [nw.from_native(source)], where)
    rows = _typed_rows(view, entity, frame, where)
    _refuse_duplicates(rows, view, entity, where)
    return rows


def _typed_rows(view: StoredView, entity: Entity, rows: pl.DataFrame | pl.LazyFrame, where: str) -> pl.DataFrame:
    """Keys, features (or columns), EVENT_TIME, KNOWN_AT and _CREATED, without rows that lack a key or a time."""
    schema = rows.collect_schema()
    created = view.created_time or view.event_time
    for column in (view.event_time, created):
        require_time(schema, column, where)
    keys = entity_keys(rows, entity, where)
    features = _numbers(schema, view, where) if isinstance(view, AggregateView) else _typed(schema, view, where)
    times = {EVENT_TIME: pl.col(view.event_time).cast(UTC_TIME), _CREATED: pl.col(created).cast(UTC_TIME)}
    return (
        rows.lazy()
        .select(*keys, *features, **times)
        .drop_nulls([*keys, *times])
        .with_columns(pl.max_horizontal(EVENT_TIME, _CREATED).alias(KNOWN_AT))
        .collect()
    )


def _readable(view: StoredView, entity: Entity, pushed: pl.LazyFrame) -> pl.DataFrame:
    """Pushed rows as this definition of the view reads them; of other definitions only what has its columns."""
    columns = {name: POLARS_TYPES[view.feature_types[name]] for name in getattr(view, "features", ())}
    columns = columns or {name: pl.Float64() for name in _stored_columns(view)}
    schema = pushed.collect_schema()
    if missing := [name for name in (*entity.keys, *columns) if name not in schema]:
        raise DataError(
            f"what was pushed to feature view '{view.name}' before has no {', '.join(missing)}",
            hint="A view with other columns needs another name, so that what was pushed stays readable.",
        )
    typed = [pl.col(name).cast(dtype) for name, dtype in columns.items()]
    return pushed.select(*entity.keys, *typed, EVENT_TIME, _CREATED, KNOWN_AT).collect()


def _prepared(view: StoredView, entity: Entity, frame: pl.DataFrame) -> pl.DataFrame:
    if isinstance(view, AggregateView):
        return frame.drop(_CREATED).sort(in_order(view, entity))
    return (
        frame.sort(*entity.keys, KNOWN_AT, EVENT_TIME, _CREATED)
        .filter(pl.col(EVENT_TIME) >= pl.col(EVENT_TIME).cum_max().over(entity.keys))
        # Of rows that became known at one moment only the last is ever seen: no later join has a tie to break.
        .unique([*entity.keys, KNOWN_AT], keep="last", maintain_order=True)
        .drop(_CREATED)
    )


def entity_keys(frame: pl.DataFrame | pl.LazyFrame, entity: Entity, where: str) -> tuple[str, ...]:
    """The entity's keys, checked to be there; floats and times are no keys."""
    schema = frame.collect_schema()
    for key in entity.keys:
        dtype = require_column(schema, key, where)
        if not (dtype == pl.String or dtype.is_integer()):
            raise ColumnTypeMismatch(key, where, f"a key of entity '{entity.name}' (string or int64)", type_name(dtype))
    return entity.keys


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


def _refuse_duplicates(frame: pl.DataFrame, view: FeatureView, entity: Entity, where: str) -> None:
    told_apart = [*entity.keys, EVENT_TIME, _CREATED]
    twice = frame.select(told_apart).is_duplicated()
    if twice.any():
        times = {view.event_time: EVENT_TIME, view.created_time or view.event_time: _CREATED}
        shown = [pl.col(column).alias(name) for name, column in times.items()]
        example = frame.filter(twice).select(*entity.keys, *shown).row(0, named=True)
        raise DataError(
            f"{where} has several rows for one key and time: {example}",
            hint="Aggregate them in its function, or name a created_time that tells them apart.",
        )


def _stored_columns(view: StoredView) -> Iterable[str]:
    return view.columns if isinstance(view, AggregateView) else view.features


def _table(found: Version, reused: bool = False) -> FeatureTable:
    record = {k: v for k, v in found.record.items() if k != "key"}
    return FeatureTable(
        view=found.name,
        version=found.version,
        digest=found.digest,
        computed_at=found.created_at,
        reused=reused,
        **record,
    )
