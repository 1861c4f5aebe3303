"""The Spark engine: views, joins and online rows on a cluster, or on Spark in this machine.

A view's function runs on Spark's frames, and its query in Spark SQL. All else goes entity by entity: Spark brings the
rows of an entity together, and each worker calls the kernels that the local engine calls, so that the values are the
same. Workers write Parquet files into the lake's folder, and the driver commits them as one version; online rows they
write themselves. Lake and online store must be reachable from every worker, and carrara installed there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from carrara.core.errors import CarraraError, ConfigurationError, DataError, StorageError
from carrara.core.identity import new_id
from carrara.core.spark import said_by, spark_master, spark_session
from carrara.data.statistics import Statistics
from carrara.data.table_digest import TableDigest
from carrara.data.versions import DatasetVersion, lake_table as dataset_table
from carrara.features.aggregates import AggregateView
from carrara.features.engines.base import Computed
from carrara.features.entities import Entity, key_bytes
from carrara.features.offline import FeatureTable, lake_table, push_log, read_pushed
from carrara.features.online import Mark, Superseded, online_table, rewrite_as_claimed
from carrara.features.online_state import OnlineState, former_keys
from carrara.features.point_in_time import join_view
from carrara.features.rows import KNOWN_AT, in_order, place_of, prepared, readable, stored_columns, typed_rows
from carrara.features.service import StoredView
from carrara.features.views import FeatureView
from carrara.storage.lake import Lake
from carrara.storage.online.base import open_online_store
from carrara.storage.stores import Stores

_ROWS_A_PART = 1_000_000
"""About how many rows a worker has in memory at once."""

_ROW, _BUCKET, _PUSHED, _KEY_ONLY = "__row", "__bucket", "__pushed", "__key_only"


class SparkEngine:
    """Spark by its master: `spark:local[4]`, `spark://HOST:7077`, or `spark:` and any other master that Spark knows."""

    def __init__(self, address: str) -> None:
        self._master = spark_master(address)

    def compute(
        self, stores: Stores, view: StoredView, entity: Entity, source: DatasetVersion, pushes: int | None
    ) -> Computed:
        from pyspark.sql import functions as sql

        where = place_of(view)
        shipped = _without_code(view)
        rows = self._rows(view, self._table(stores.lake, dataset_table(source.name), source.lake_version))
        typed = self._mapped(rows, _Typed(shipped, entity, where), where).withColumn(_PUSHED, sql.lit(False))
        if pushes is not None:
            log = self._mapped(self._table(stores.lake, push_log(view), pushes), _Readable(shipped, entity), where)
            columns = [sql.col(name).cast(typed.schema[name].dataType) for name in typed.columns if name != _PUSHED]
            typed = typed.unionByName(log.select(columns).withColumn(_PUSHED, sql.lit(True)))
        table = lake_table(view.name)
        work = _Prepare(shipped, entity, str(stores.lake.folder(table)), pushes is not None)
        parts = self._worked(typed, entity, self._parts(source.rows), work, where)
        empty = prepared(shipped, entity, _as_polars(typed.drop(_PUSHED).limit(0).toArrow()), None)
        statistics, digest = Statistics(), TableDigest()
        statistics.add(empty.select(stored_columns(view)))
        for part in parts:
            statistics.merge(Statistics.from_bytes(base64.b64decode(part["statistics"])))
            digest.merge(TableDigest.from_list(part["digest"]))
        return Computed(
            rows=digest.rows,
            statistics=statistics.summary(),
            digest=digest.hexdigest(empty.schema),
            lake_version=stores.lake.commit_files(table, empty.schema, {part["file"]: part["rows"] for part in parts}),
        )

    def join(
        self, stores: Stores, view: StoredView, entity: Entity, table: FeatureTable, asked: pl.DataFrame, time: str
    ) -> pl.DataFrame:
        from pyspark.sql import functions as sql

        rows = self._table(stores.lake, lake_table(view.name), table.lake_version)
        bucket = sql.pmod(sql.hash(*entity.keys), sql.lit(self._parts(table.rows + asked.height)))
        labels = self._frame(asked.with_row_index(_ROW).cast({_ROW: pl.Int64})).withColumn(_BUCKET, bucket)
        rows = rows.withColumn(_BUCKET, bucket)
        work = _Join(_without_code(view), entity, time)
        empty = work.joined(_as_polars(labels.limit(0).toArrow()), _as_polars(rows.limit(0).toArrow()))
        grouped = labels.groupBy(_BUCKET).cogroup(rows.groupBy(_BUCKET))
        # A function of two arguments: Spark counts them, and would give an object's method the key as well.
        joined = grouped.applyInArrow(lambda labels, rows: work(labels, rows), self._frame(empty).schema)
        return _as_polars(_run(joined.toArrow, place_of(view))).sort(_ROW).drop(_ROW).cast(dict(_features(empty)))

    def write_online(
        self, stores: Stores, view: StoredView, entity: Entity, table: FeatureTable, claim: Mark, rebuild: bool
    ) -> int:
        from pyspark.sql import functions as sql

        if stores.online_address.startswith("lmdb:") and not self._master.startswith("local"):
            raise ConfigurationError(
                f"the workers of {self._master} cannot write the online store {stores.online_address}",
                hint='Name one that they can reach, e.g. [stores] online = "redis://HOST:6379/0".',
            )
        rows = self._table(stores.lake, lake_table(view.name), table.lake_version).withColumn(_KEY_ONLY, sql.lit(False))
        former, pushed = former_keys(stores, view, claim, rebuild), read_pushed(stores.lake, view, entity, table)
        keys = [self._table(stores.lake, lake_table(view.name), former.lake_version)] if former is not None else []
        keys += [self._frame(pushed.select(entity.keys))] if pushed is not None else []
        for more in keys:
            typed = [sql.col(name).cast(rows.schema[name].dataType) for name in entity.keys]
            more = more.select(typed).distinct().withColumn(_KEY_ONLY, sql.lit(True))
            rows = rows.unionByName(more, allowMissingColumns=True)
        work = _WriteOnline(
            _without_code(view),
            entity,
            table,
            claim,
            rebuild,
            online_table(view, entity),
            str(stores.lake.folder("")),
            stores.online_address,
            stores.root.absolute(),
        )
        parts = self._worked(rows, entity, self._parts(table.rows), work, place_of(view))
        if any(part.get("superseded") for part in parts):
            raise Superseded
        return sum(part["written"] for part in parts)

    @cached_property
    def _session(self) -> Any:
        return spark_session(self._master, purpose=f"[engine] features = 'spark:{self._master}'")

    def _parts(self, rows: int) -> int:
        return max(int(self._session.sparkContext.defaultParallelism), -(-rows // _ROWS_A_PART))

    def _frame(self, rows: pl.DataFrame) -> Any:
        return self._session.createDataFrame(_as_arrow(rows))

    def _table(self, lake: Lake, table: str, version: int) -> Any:
        """A version of a table of the lake: Spark reads its files, and needs no Delta of its own."""
        schema = self._frame(lake.scan(table, version).limit(0).collect()).schema
        files = lake.files(table, version)
        if not files:
            return self._session.createDataFrame([], schema)
        return self._session.read.schema(schema).parquet(*files)

    def _rows(self, view: StoredView, source: Any) -> Any:
        if isinstance(view, AggregateView):
            return source
        from pyspark.sql import DataFrame

        where = place_of(view)
        try:
            if view.function is None:
                source.createOrReplaceTempView(view.source)
                return self._session.sql(view.sql)
            found = nw.to_native(view.function(nw.from_native(source)), pass_through=True)
        except CarraraError:
            raise
        except Exception as error:
            what = "SQL" if view.function is None else "function"
            raise DataError(f"the {what} of {where} failed in Spark: {said_by(error)}") from error
        if not isinstance(found, DataFrame):
            raise DataError(f"the function of {where} returned {type(found).__name__}, and a frame is expected")
        return found

    def _mapped(self, rows: Any, work: _Typed | _Readable, where: str) -> Any:
        # On no rows first: what is wrong with the columns is said here, as the local engine says it.
        empty = work.typed(_as_polars(_run(rows.limit(0).toArrow, where)))
        return rows.mapInArrow(work, self._frame(empty).schema)

    def _worked(self, rows: Any, entity: Entity, parts: int, work: Any, where: str) -> list[dict[str, Any]]:
        """What workers say of their parts, each of whole entities."""
        done = rows.repartition(parts, *entity.keys).mapInArrow(_Said(work), "said string")
        said = [json.loads(text) for text in _run(done.toArrow, where)["said"].to_pylist()]
        for one in said:
            if "error" in one:
                kind = StorageError if one["kind"] == "StorageError" else DataError
                raise kind(one["error"], hint=one["hint"])
        return said


@dataclass(frozen=True)
class _Typed:
    """Batches of a view's rows, as `typed_rows` makes them."""

    view: StoredView
    entity: Entity
    where: str

    def typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return typed_rows(self.view, self.entity, rows, self.where)

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield from _as_arrow(self.typed(_as_polars(batch))).to_batches()


@dataclass(frozen=True)
class _Readable:
    """Batches of a push log, as `readable` makes them."""

    view: StoredView
    entity: Entity

    def typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return readable(self.view, self.entity, rows.lazy())

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield from _as_arrow(self.typed(_as_polars(batch))).to_batches()


@dataclass(frozen=True)
class _Prepare:
    """A part of a feature table: prepared, and written as a file."""

    view: StoredView
    entity: Entity
    folder: str
    with_pushes: bool

    def __call__(self, rows: pl.DataFrame) -> dict[str, Any]:
        computed = rows.filter(~pl.col(_PUSHED)).drop(_PUSHED)
        pushed = rows.filter(_PUSHED).drop(_PUSHED) if self.with_pushes else None
        part = prepared(self.view, self.entity, computed, pushed)
        file = f"part-{new_id()}.parquet"
        part.write_parquet(Path(self.folder) / file)
        statistics, digest = Statistics(), TableDigest()
        statistics.add(part.select(stored_columns(self.view)))
        digest.add(part)
        return {
            "file": file,
            "rows": part.height,
            "statistics": base64.b64encode(statistics.to_bytes()).decode(),
            "digest": digest.as_list(),
        }


@dataclass(frozen=True)
class _Join:
    """The labels and the rows of some entities, joined."""

    view: StoredView
    entity: Entity
    time: str

    def joined(self, labels: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        in_time = in_order(self.view, self.entity) if isinstance(self.view, AggregateView) else None
        table = rows.sort(in_time or [*self.entity.keys, KNOWN_AT])
        found = join_view(labels, self.time, self.view, self.entity, table.lazy())
        return labels.select(_ROW).hstack(found)

    def __call__(self, labels: Any, rows: Any) -> Any:
        return _as_arrow(self.joined(_as_polars(labels), _as_polars(rows)))


@dataclass(frozen=True)
class _WriteOnline:
    """The online rows of some entities."""

    view: StoredView
    entity: Entity
    table: FeatureTable
    claim: Mark
    rebuild: bool
    named: str
    lake: str
    online: str
    root: Path

    def __call__(self, rows: pl.DataFrame) -> dict[str, Any]:
        store, lake, keys = open_online_store(self.online, self.root), Lake(self.lake), list(self.entity.keys)

        def pushed() -> pl.DataFrame | None:
            found = read_pushed(lake, self.view, self.entity, self.table)
            return None if found is None else found.join(rows, on=keys, how="semi")

        try:
            state = OnlineState(
                self.view,
                self.entity,
                self.claim,
                self.rebuild,
                rows.filter(~pl.col(_KEY_ONLY)).drop(_KEY_ONLY).lazy(),
                rows.filter(_KEY_ONLY).lazy(),
                pushed,
            )
            chosen, remake = state.remake()
            packed = key_bytes(chosen, self.entity.keys)
            return {"written": rewrite_as_claimed(store, self.named, packed, self.claim, remake)}
        except Superseded:
            return {"superseded": True, "written": 0}
        finally:
            store.close()


@dataclass(frozen=True)
class _Said:
    """Work on a part, and what it says of it, errors of a user included: as a row, since Spark tells of an exception
    by the traceback of its worker."""

    work: Callable[[pl.DataFrame], dict[str, Any]]

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        parts = [_as_polars(batch) for batch in batches]
        if not parts:
            return
        try:
            said = self.work(pl.concat(parts))
        except CarraraError as error:
            said = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
        yield pa.RecordBatch.from_pydict({"said": [json.dumps(said)]})


def _without_code(view: StoredView) -> StoredView:
    """The view as workers need it: they call no function of a user, whose module they could not import."""
    if isinstance(view, FeatureView):
        return replace(view, function=None, sql="SELECT", stream=None)
    return replace(view, stream=None)


def _run(action: Callable[[], Any], where: str) -> Any:
    from pyspark.errors import PySparkException

    try:
        return action()
    except PySparkException as error:
        raise DataError(f"{where} failed in Spark: {said_by(error)}") from error


def _features(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataType]]:
    return ((name, dtype) for name, dtype in frame.schema.items() if name != _ROW)


def _as_polars(rows: Any) -> pl.DataFrame:
    found = pl.from_arrow(rows)
    assert isinstance(found, pl.DataFrame)
    return found


def _as_arrow(rows: pl.DataFrame) -> Any:
    """An Arrow table in the types that Spark reads: texts of 32-bit offsets."""
    import pyarrow as pa

    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    return table.cast(pa.schema([(field.name, plain.get(field.type, field.type)) for field in table.schema]))
