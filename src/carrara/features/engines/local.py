"""The local engine: Polars and NumPy, and DuckDB for queries, in this process."""

from __future__ import annotations

import narwhals as nw
import polars as pl

from carrara.data.column_statistics import column_statistics
from carrara.data.ingest import collect
from carrara.data.table_digest import digest_frame
from carrara.data.versions import DatasetVersion, read_dataset
from carrara.features.aggregates import AggregateView
from carrara.features.engines.base import Computed
from carrara.features.entities import Entity, key_bytes
from carrara.features.offline import FeatureTable, lake_table, push_log, scan_table
from carrara.features.online import Mark, online_table, rewrite_as_claimed
from carrara.features.online_state import online_state
from carrara.features.point_in_time import join_view
from carrara.features.query import query
from carrara.features.rows import place_of, prepared, readable, stored_columns, typed_rows
from carrara.features.service import StoredView
from carrara.storage.stores import Stores


class LocalEngine:
    def __init__(self, address: str = "local") -> None:
        self.address = address

    def compute(
        self, stores: Stores, view: StoredView, entity: Entity, source: DatasetVersion, pushes: int | None
    ) -> Computed:
        rows = typed_rows(view, entity, _rows(view, read_dataset(stores, source.name, source.version)), place_of(view))
        pushed = None if pushes is None else readable(view, entity, stores.lake.scan(push_log(view), pushes))
        table = prepared(view, entity, rows, pushed)
        return Computed(
            rows=table.height,
            statistics=column_statistics(table.select(stored_columns(view))),
            digest=digest_frame(table),
            lake_version=stores.lake.write(lake_table(view.name), table),
        )

    def join(
        self, stores: Stores, view: StoredView, entity: Entity, table: FeatureTable, asked: pl.DataFrame, time: str
    ) -> pl.DataFrame:
        return join_view(asked, time, view, entity, scan_table(stores, table))

    def write_online(
        self, stores: Stores, view: StoredView, entity: Entity, table: FeatureTable, claim: Mark, rebuild: bool
    ) -> int:
        keys, remake = online_state(stores, view, entity, table, claim, rebuild).remake()
        named = online_table(view, entity)
        return rewrite_as_claimed(stores.online, named, key_bytes(keys, entity.keys), claim, remake)


def _rows(view: StoredView, source: pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
    if isinstance(view, AggregateView):
        return source
    if view.function is None:
        return query(view.sql, {view.source: source}, place_of(view))
    return collect(view.function, [nw.from_native(source)], place_of(view))
