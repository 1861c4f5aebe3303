"""Training sets: labels joined point-in-time with a service's features, immutable in the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from carrara.core.arrays import array_column, declared_shape, flat_arrays
from carrara.core.columns import POLARS_TYPES, UTC_TIME, as_numpy, require_column, require_time, type_name
from carrara.core.digests import digest_data
from carrara.core.errors import ColumnTypeMismatch, DataError
from carrara.data.table_digest import TableDigest
from carrara.data.versions import DatasetVersion, read_dataset
from carrara.features.engines.base import feature_engine
from carrara.features.entities import Entity
from carrara.features.offline import FeatureTable, current_table, scan_table
from carrara.features.on_demand import OnDemandView, run_on_demand
from carrara.features.service import ResolvedFeatures
from carrara.metadata.versions import Version, add_version, find_by_digest, find_version, get_version
from carrara.storage.stores import Stores

KIND = "training_set"

_DAY_DIGITS = 32


@dataclass(frozen=True)
class TrainingSet:
    """A version of a model's training set; `tables` are the feature tables it was joined from, `days` the days of its
    labels in the order of its rows, each with how many rows it has, and their digest."""

    name: str
    version: int
    digest: str
    rows: int
    columns: list[str]
    dataset: list[Any]
    tables: dict[str, list[Any]]
    lake_table: str
    days: Sequence[Sequence[Any]] = ()

    @property
    def address(self) -> str:
        return f"{KIND}:{self.name}@{self.version}"


def build_training_set(
    stores: Stores,
    name: str,
    service: ResolvedFeatures,
    labels: DatasetVersion,
    *,
    time: str,
    keep: tuple[str, ...],
    run_id: str,
) -> TrainingSet:
    """Join the service's features to every row of `labels` at its `time`, and keep the result for good.

    `keep` names the other columns of the labels that the result carries (the label, slices, when the label
    became known). Rows without a label time are an error, not dropped.
    """
    tables = {view.name: current_table(stores, view) for view, _ in service.stored}
    rows = training_rows(stores, service, labels, tables, time, keep)
    return _record(stores, name, rows, labels, tables, run_id, time)


def training_rows(
    stores: Stores,
    service: ResolvedFeatures,
    labels: DatasetVersion,
    tables: dict[str, FeatureTable],
    time: str,
    keep: tuple[str, ...],
) -> pl.DataFrame:
    """The rows of a training set from a version of its labels and of each view's table."""
    where, table = f"dataset '{labels.name}'", read_dataset(stores, labels.name, labels.version)
    schema = table.collect_schema()
    require_time(schema, time, where)
    carried = [c for c in dict.fromkeys((*service.keys, *service.request, time, *keep)) if c not in service.features]
    for column in carried:
        require_column(schema, column, where)
    frame = table.select(carried).collect()
    _check_labels(frame, where, time)
    # A total order, so that equal rows train the same model whatever order an engine read them in. Features are a
    # function of what is carried, and there are many more of them: they are never sorted, which would copy them all.
    frame = frame.sort([time, *(column for column in carried if column != time)], nulls_last=True)
    joined = join_features(stores, service, frame, time, where=where, tables=tables)
    # In one piece: delta-rs (1.x) writes several batches in an order of its own.
    return pl.concat([frame, joined], how="horizontal").rechunk()


def join_features(
    stores: Stores,
    service: ResolvedFeatures,
    labels: pl.DataFrame,
    time: str,
    *,
    where: str,
    tables: dict[str, FeatureTable] | None = None,
) -> pl.DataFrame:
    """The service's features at each row's keys and `time`, in the rows' order, as columns `view:feature`."""
    require_time(labels.schema, time, where)
    found = pl.DataFrame(height=labels.height)
    for view, entity in service.stored:
        table = (tables or {}).get(view.name) or current_table(stores, view)
        asked = _asked(labels, time, entity, scan_table(stores, table).collect_schema(), where)
        found = found.hstack(feature_engine(stores).join(stores, view, entity, table, asked, time))
    for on_demand in service.on_demand:
        found = found.hstack(_on_demand_columns(on_demand, labels, found, where))
    return found.select(service.features)


def read_training_set(stores: Stores, name: str, version: int) -> tuple[TrainingSet, pl.LazyFrame]:
    """A recorded training set and its rows."""
    found = _training_set(get_version(stores.metadata, KIND, name, version))
    return found, stores.lake.scan(found.lake_table)


def kept_training_set(
    stores: Stores, name: str, kept: Mapping[str, Any] | None
) -> tuple[TrainingSet, pl.LazyFrame] | None:
    """The training set that a record tells of by version and digest; None where there was none, or is none now."""
    found = find_version(stores.metadata, KIND, name, kept["version"]) if kept is not None else None
    if kept is None or found is None or found.digest != kept["digest"]:
        return None
    return read_training_set(stores, name, kept["version"])


def _asked(labels: pl.DataFrame, time: str, entity: Entity, table: pl.Schema, where: str) -> pl.DataFrame:
    """The keys and times of `labels` in the types of a prepared table; a number that does not fit is no key of it."""
    for key in entity.keys:
        dtype = require_column(labels.schema, key, where)
        both_integers = dtype.is_integer() and table[key].is_integer()
        if not (dtype == table[key] or both_integers or dtype == pl.Null):
            raise ColumnTypeMismatch(key, where, type_name(table[key]), type_name(dtype))
    keys = [pl.col(key).cast(table[key], strict=False) for key in entity.keys]
    return labels.select(*keys, pl.col(time).cast(UTC_TIME))


def _on_demand_columns(view: OnDemandView, labels: pl.DataFrame, stored: pl.DataFrame, where: str) -> pl.DataFrame:
    columns = {}
    for field, declared in view.request.items():
        found = require_column(labels.schema, field, where)
        if shape := declared_shape(declared):
            columns[field] = flat_arrays(labels[field], shape, where).reshape(-1, *shape)
            continue
        numeric = POLARS_TYPES[declared].is_numeric() and found.is_numeric()
        if type_name(found) != declared and not numeric:
            raise ColumnTypeMismatch(field, where, declared, type_name(found))
        columns[field] = as_numpy(labels[field])
    for reference in view.inputs:
        columns[reference.partition(":")[2]] = as_numpy(stored[reference])
    made = run_on_demand(view, columns)
    return pl.DataFrame({f"{view.name}:{name}": _series(values) for name, values in made.items()})


def _series(values: Any) -> pl.Series:
    """A column that an on-demand view made."""
    if values.ndim > 1:
        return array_column(values)
    return pl.Series(values, dtype=pl.String) if values.dtype == object else pl.Series(values).fill_nan(None)


def _check_labels(frame: pl.DataFrame, where: str, time: str) -> None:
    missing = frame[time].null_count()
    if missing:
        raise DataError(
            f"{missing:,} labels of {where} have no time in '{time}'",
            hint="Every label needs the time at which it is predicted; drop the others in the dataset's function.",
        )
    if frame.is_empty():
        raise DataError(f"{where} has no rows", hint="A training set needs labels.")


def _record(
    stores: Stores,
    name: str,
    frame: pl.DataFrame,
    labels: DatasetVersion,
    tables: dict[str, FeatureTable],
    run_id: str,
    time: str,
) -> TrainingSet:
    days = _digests_by_day(frame, time)
    whole = TableDigest()
    for _, part in days:
        whole.merge(part)
    digest = whole.hexdigest(frame.schema)
    same = find_by_digest(stores.metadata, KIND, name, digest)
    if same is not None:
        return _training_set(same)
    lake_table = f"training_sets/{name}/{digest[:16]}"
    stores.lake.write(lake_table, frame)
    record = {
        "rows": frame.height,
        "columns": frame.columns,
        "dataset": [labels.name, labels.version, labels.digest],
        "tables": {t.view: [t.version, t.digest] for t in tables.values()},
        "lake_table": lake_table,
        "days": [[day, part.rows, part.hexdigest(frame.schema)[:_DAY_DIGITS]] for day, part in days],
    }
    sources = [labels.address, *(table.address for table in tables.values())]
    return _training_set(
        add_version(stores.metadata, KIND, name, digest=digest, run_id=run_id, record=record, sources=sources)
    )


def _digests_by_day(frame: pl.DataFrame, time: str) -> list[tuple[str, TableDigest]]:
    """The days of rows in the order of their time; their digests add up to that of all."""
    counts = frame.select(pl.col(time).cast(UTC_TIME).dt.date().rle().struct.unnest())
    found, first = [], 0
    for rows, day in counts.iter_rows():
        part = TableDigest()
        part.add(frame.slice(first, rows))
        found.append((str(day), part))
        first += rows
    return found


def _training_set(found: Version) -> TrainingSet:
    return TrainingSet(name=found.name, version=found.version, digest=found.digest, **found.record)


def training_set_key(
    service: ResolvedFeatures, labels: DatasetVersion, tables: dict[str, FeatureTable], time: str
) -> str:
    """What a training set depends on, as a digest: equal keys give equal training sets."""
    return digest_data([service.spec(), labels.digest, {n: t.digest for n, t in tables.items()}, time])
