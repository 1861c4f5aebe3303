"""Feature tables: a view's rows in the lake, prepared once so that every later join is a merge.

Prepared means sorted by entity key and the time a row became known, and without the rows that no moment could
ever see: a late row that is older than what was known already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl

from carrara.core.columns import (
    POLARS_TYPES,
    UTC_TIME,
    require_column,
    require_number,
    require_time,
    type_name,
)
from carrara.core.definitions import Definitions, spec_digest
from carrara.core.digests import digest_data
from carrara.core.errors import ColumnTypeMismatch, DataError
from carrara.core.html import html_table
from carrara.data import dataset_version, read_dataset
from carrara.data.column_statistics import column_statistics
from carrara.data.ingest import collect
from carrara.data.table_digest import digest_frame
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.service import StoredView
from carrara.features.views import FeatureView
from carrara.metadata.runs import run
from carrara.metadata.versions import Version, add_version, find_version, list_versions
from carrara.storage import Stores

KIND = "feature_table"
EVENT_TIME = "__event_time"
KNOWN_AT = "__known_at"


@dataclass(frozen=True)
class FeatureTable:
    """One computed version of a view's table; `definition` is the digest of the view's spec."""

    view: str
    version: int
    definition: str
    digest: str
    rows: int
    statistics: dict[str, Any]
    lake_version: int
    reused: bool = False

    @property
    def address(self) -> str:
        return f"{KIND}:{self.view}@{self.version}"

    def _repr_html_(self) -> str:
        rows = [(name, s["type"], s["nulls"], s["distinct"]) for name, s in self.statistics.items()]
        return html_table(f"{self.view}, {self.rows:,} rows", ["column", "type", "nulls", "distinct"], rows)


def compute_feature_table(stores: Stores, definitions: Definitions, view: StoredView) -> FeatureTable:
    """Compute a view over the newest version of its dataset, unless exactly that is in the lake already."""
    entity = definitions.get("entity", view.entity, Entity, where=f"feature view '{view.name}'")
    source = dataset_version(stores, view.source)
    key = digest_data([spec_digest(view), entity.spec(), source.digest])
    newest = find_version(stores.metadata, KIND, view.name)
    if newest is not None and newest.record["key"] == key:
        return _table(newest, reused=True)
    with run(stores.metadata, "compute", view.name, {"dataset": [source.name, source.version]}) as run_id:
        frame = _prepared(view, entity, read_dataset(stores, source.name, source.version))
        record = {
            "key": key,
            "definition": spec_digest(view),
            "rows": frame.height,
            "statistics": column_statistics(frame.select(list(_stored_columns(view)))),
            "lake_version": stores.lake.write(lake_table(view.name), frame),
        }
        sources, digest = [source.address], digest_frame(frame)
        made = add_version(
            stores.metadata, KIND, view.name, digest=digest, run_id=run_id, record=record, sources=sources
        )
    return _table(made)


def current_table(stores: Stores, view: StoredView) -> FeatureTable:
    """The newest table of exactly this definition; DataError when it was not computed."""
    for found in reversed(list_versions(stores.metadata, KIND, view.name)):
        if found.record["definition"] == spec_digest(view):
            return _table(found)
    raise DataError(
        f"feature view '{view.name}' has not been computed as it is defined now",
        hint=f"carrara feature compute {view.name}",
    )


def list_feature_tables(stores: Stores) -> list[FeatureTable]:
    """Every version of every feature table, oldest first."""
    return [_table(found) for found in list_versions(stores.metadata, KIND)]


def scan_table(stores: Stores, table: FeatureTable) -> pl.LazyFrame:
    """The prepared rows: keys, EVENT_TIME, KNOWN_AT, and the features (or an aggregate view's columns)."""
    return stores.lake.scan(lake_table(table.view), table.lake_version)


def lake_table(view: str) -> str:
    return f"features/{view}"


def _prepared(view: StoredView, entity: Entity, source: pl.LazyFrame) -> pl.DataFrame:
    if isinstance(view, AggregateView):
        return _prepared_events(view, entity, source)
    return _prepared_rows(view, entity, source)


def _prepared_rows(view: FeatureView, entity: Entity, source: pl.LazyFrame) -> pl.DataFrame:
    where = f"feature view '{view.name}'"
    frame = collect(view.function, [nw.from_native(source)], where)
    created = view.created_time or view.event_time
    for column in (view.event_time, created):
        require_time(frame.schema, column, where)
    frame = frame.drop_nulls(list(dict.fromkeys((*entity_keys(frame, entity, where), view.event_time, created))))
    _refuse_duplicates(frame, list(dict.fromkeys((*entity.keys, view.event_time, created))), where)
    times = {EVENT_TIME: pl.col(view.event_time).cast(UTC_TIME), "__created": pl.col(created).cast(UTC_TIME)}
    return (
        frame.select(*entity.keys, *_typed(frame, view.features, where), **times)
        .with_columns(pl.max_horizontal(EVENT_TIME, "__created").alias(KNOWN_AT))
        .sort(*entity.keys, KNOWN_AT, EVENT_TIME, "__created")
        .filter(pl.col(EVENT_TIME) >= pl.col(EVENT_TIME).cum_max().over(entity.keys))
        # Of rows that became known at one moment only the last is ever seen: no later join has a tie to break.
        .unique([*entity.keys, KNOWN_AT], keep="last", maintain_order=True)
        .drop("__created")
    )


def _prepared_events(view: AggregateView, entity: Entity, source: pl.LazyFrame) -> pl.DataFrame:
    where = f"dataset '{view.source}' (read by aggregate view '{view.name}')"
    schema = source.collect_schema()
    require_time(schema, view.event_time, where)
    for column in view.columns:
        require_number(schema, column, where)
    time = pl.col(view.event_time).cast(UTC_TIME)
    values = [pl.col(column).cast(pl.Float64) for column in view.columns]
    frame = source.select(*entity_keys(source, entity, where), *values, time.alias(EVENT_TIME), time.alias(KNOWN_AT))
    # The values break ties, so that `last` does not hang on the order in which an engine read the rows.
    return frame.drop_nulls([*entity.keys, EVENT_TIME]).sort(*entity.keys, EVENT_TIME, *view.columns).collect()


def entity_keys(frame: pl.DataFrame | pl.LazyFrame, entity: Entity, where: str) -> tuple[str, ...]:
    """The entity's keys, checked to be there; floats and times are no keys."""
    schema = frame.collect_schema()
    for key in entity.keys:
        dtype = require_column(schema, key, where)
        if not (dtype == pl.String or dtype.is_integer()):
            raise ColumnTypeMismatch(key, where, f"a key of entity '{entity.name}' (string or int64)", type_name(dtype))
    return entity.keys


def _typed(frame: pl.DataFrame, features: Any, where: str) -> Iterable[pl.Expr]:
    for name, declared in features.items():
        found = require_column(frame.schema, name, where)
        widened = found.is_integer() and declared in ("float64", "float32", "int64")
        if type_name(found) != declared and not widened and not found == pl.Null:
            raise ColumnTypeMismatch(name, where, declared, type_name(found))
        yield pl.col(name).cast(POLARS_TYPES[declared])


def _refuse_duplicates(frame: pl.DataFrame, columns: list[str], where: str) -> None:
    twice = frame.select(columns).is_duplicated()
    if twice.any():
        example = frame.select(columns).filter(twice).row(0)
        raise DataError(
            f"{where} returns several rows for one key and time: {dict(zip(columns, example, strict=True))}",
            hint="Aggregate them in its function, or name a created_time that tells them apart.",
        )


def _stored_columns(view: StoredView) -> Iterable[str]:
    return view.columns if isinstance(view, AggregateView) else view.features


def _table(found: Version, reused: bool = False) -> FeatureTable:
    record = {k: v for k, v in found.record.items() if k != "key"}
    return FeatureTable(view=found.name, version=found.version, digest=found.digest, reused=reused, **record)
