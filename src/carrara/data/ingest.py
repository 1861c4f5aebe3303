"""Ingest: from a source, or from other datasets, to the next version of a dataset; unchanged means no new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl

from carrara.core.definitions import Definitions, spec_digest
from carrara.core.digests import digest_data
from carrara.core.errors import CarraraError, DataError, DefinitionCycle, NotFoundError, TimeWithoutZone
from carrara.core.identity import current_user
from carrara.core.progress import Step
from carrara.data.dataset import Dataset, DerivedDataset, Mode
from carrara.data.intake import Intake, Unchanged
from carrara.data.schema_file import schema_of, write_accepted
from carrara.data.sources.base import Opened
from carrara.data.sources.files import Files, digest_of_files
from carrara.data.statistics import Statistics, batches_of
from carrara.data.storable import storable_schema
from carrara.data.table_digest import TableDigest
from carrara.data.versions import (
    KIND,
    DatasetVersion,
    dataset_version,
    from_record,
    lake_table,
    quarantine_table,
    read_dataset,
    read_statistics,
)
from carrara.metadata.runs import run
from carrara.metadata.versions import Version, add_version, find_version
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class Ingested:
    """The version that a dataset has now; `reused` when its source had not changed."""

    version: DatasetVersion
    reused: bool

    def _repr_html_(self) -> str:
        return self.version._repr_html_()


def ingest_all(stores: Stores, definitions: Definitions) -> Iterator[Ingested]:
    """Ingest every dataset of the definitions, inputs first."""
    for name in in_order(definitions):
        yield ingest(stores, definitions, name)


def ingest(
    stores: Stores, definitions: Definitions, name: str, *, accept_schema: bool = False, step: Step | None = None
) -> Ingested:
    """Bring one dataset up to date with its source, or with the newest versions of its inputs.

    Raises DataError for a source that cannot be read, CheckFailed for one that its schema refuses; the
    last good version then stays the newest. `accept_schema` takes what is there now as the schema.
    """
    declared = _declared(definitions, name)
    if isinstance(declared, Dataset):
        return ingest_dataset(stores, declared, accept_schema=accept_schema, step=step)
    for other in declared.inputs:
        _declared(definitions, other, where=f"dataset '{name}'")
    inputs = [dataset_version(stores, other) for other in declared.inputs]
    source = {"datasets": {v.name: [v.version, v.digest] for v in inputs}}
    key = digest_data([spec_digest(declared), source])
    target = _Target(declared.name, "replace", (), (), None, {}, source, key, [v.address for v in inputs])
    return _ingest(stores, target, lambda: _derived(stores, declared), accept_schema, step)


def ingest_dataset(
    stores: Stores, declared: Dataset, *, accept_schema: bool = False, step: Step | None = None
) -> Ingested:
    """Bring a dataset up to date with its source, as `ingest` does; it need not be in the definitions."""
    origin = declared.read_from
    files: dict[str, str] = {}
    fingerprint: str | None
    if declared.mode == "append" and isinstance(origin, Files) and origin.is_local_pattern:
        newest = find_version(stores.metadata, KIND, declared.name)
        taken = newest.record["source"].get("files", {}) if newest is not None else {}
        origin, new = origin.added(stores.root, taken)
        if newest is not None and not new:
            return Ingested(from_record(newest), reused=True)
        files, fingerprint = {**taken, **new}, digest_of_files(list(new.values()))
    else:
        fingerprint = origin.fingerprint(stores.root)
    source = {**origin.describe(), "digest": fingerprint, **({"files": files} if files else {})}
    key = digest_data([spec_digest(declared), source]) if fingerprint else None
    address = source.get("file") or source.get("url") or source["kind"]
    target = _Target(
        declared.name,
        declared.mode,
        declared.key,
        declared.slices,
        declared.weight,
        declared.reading().types,
        source,
        key,
        [f"{source['kind']}:{address}" + (f"#{fingerprint[:12]}" if fingerprint else "")],
    )
    return _ingest(stores, target, lambda: origin.open(stores.root, declared.reading()), accept_schema, step)


def ingest_rows(
    stores: Stores, name: str, rows: pl.DataFrame, *, source: Mapping[str, Any], made_from: Sequence[str]
) -> Ingested:
    """Keep rows that were computed as the next version of a dataset, with its lineage: the addresses of what they were
    `made_from`. CheckFailed where they are not what its schema says; equal rows make no new version."""
    target = _Target(name, "replace", (), (), None, {}, dict(source), None, list(made_from))
    opened = Opened(rows.schema, iter([rows]), rows.height, f"dataset '{name}'")
    return _ingest(stores, target, lambda: nullcontext(opened), False, None)


def in_order(definitions: Definitions) -> list[str]:
    """The datasets, each after its inputs; DefinitionCycle names a circle."""
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...], where: str) -> None:
        if name in path:
            raise DefinitionCycle([*path[path.index(name) :], name])
        if name not in ordered:
            declared = _declared(definitions, name, where=where)
            for other in declared.inputs:
                visit(other, (*path, name), f"dataset '{name}'")
            ordered.append(name)

    for name in definitions.of_kind(KIND):
        visit(name, (), "")
    return ordered


@dataclass(frozen=True)
class _Target:
    """The dataset that rows go into, and what is to be recorded of where they come from."""

    name: str
    mode: Mode
    key: tuple[str, ...]
    slices: tuple[str, ...]
    weight: str | None
    types: Any
    source: dict[str, Any]
    source_key: str | None
    lineage: list[str]


def _ingest(stores: Stores, target: _Target, opening: Any, accept_schema: bool, step: Step | None) -> Ingested:
    newest = find_version(stores.metadata, KIND, target.name)
    same = newest is not None and target.source_key is not None and newest.record["key"] == target.source_key
    if newest is not None and same and not accept_schema:
        return Ingested(from_record(newest), reused=True)
    with run(stores.metadata, "ingest", target.name, {"source": target.source}) as run_id, opening() as opened:
        where = f"dataset '{target.name}'"
        schema = storable_schema(opened.schema, target.types, where)
        previous = read_statistics(stores, from_record(newest)) if newest is not None else None
        intake = Intake(
            name=target.name,
            columns=schema,
            types=target.types,
            schema=None if accept_schema else schema_of(stores.root, target.name, newest.record if newest else None),
            previous=previous,
            previous_digest=newest.record["added_digest"] if newest is not None and not accept_schema else None,
            replaces=target.mode == "replace" or newest is None,
            key=target.key,
            statistics=Statistics(weight=target.weight, sliced_by=target.slices),
        )
        try:
            lake_version = _write(stores, target, intake, opened, newest, step)
        except Unchanged:
            assert newest is not None
            return Ingested(from_record(newest), reused=True)
        finally:
            if intake.aside:
                stores.lake.write(quarantine_table(target.name), intake.set_aside())
        record, digest = _record(stores, target, intake, newest, lake_version)
        made = add_version(
            stores.metadata,
            KIND,
            target.name,
            digest=digest,
            run_id=run_id,
            record=record,
            sources=target.lineage,
            after=None if target.mode == "replace" else newest.version if newest is not None else 0,
        )
        if accept_schema:
            write_accepted(stores.root, target.name, intake.accepted())
    return Ingested(from_record(made), reused=False)


def _write(
    stores: Stores, target: _Target, intake: Intake, opened: Opened, newest: Version | None, step: Step | None
) -> int:
    table, batches = lake_table(target.name), intake.batches(opened, step)
    if intake.replaces:
        return stores.lake.write_batches(table, intake.columns, batches)
    assert newest is not None
    # A crash between the lake's commit and the record leaves a version that nobody asked for.
    stores.lake.restore(table, newest.record["lake_version"])
    if target.mode == "append":
        return stores.lake.write_batches(table, intake.columns, batches, mode="append")
    return stores.lake.merge_batches(table, intake.columns, batches, target.key)


def _record(
    stores: Stores, target: _Target, intake: Intake, newest: Version | None, lake_version: int
) -> tuple[dict[str, Any], str]:
    statistics, rows_digest, columns = intake.kept, intake.digest, intake.columns
    added_digest = rows_digest.hexdigest(columns)
    if not intake.replaces:
        assert newest is not None
        columns = stores.lake.scan(lake_table(target.name), lake_version).collect_schema()
        if target.mode == "append":
            assert intake.previous is not None
            rows_digest.merge(TableDigest.from_list(newest.record["rows_digest"]))
            intake.previous.merge(statistics)
            statistics = intake.previous
        else:
            statistics, rows_digest = _looked_over(stores, target, lake_version)
    record = {
        "key": target.source_key,
        "source": target.source,
        "created_by": current_user(),
        "rows": statistics.rows,
        "added": intake.kept.rows,
        "quarantined": intake.aside,
        "rows_digest": rows_digest.as_list(),
        "added_digest": added_digest,
        "statistics": _figures(statistics),
        "sketches": stores.artifacts.put(statistics.to_bytes()),
        "schema": intake.accepted().as_dict(),
        "anomalies": [anomaly.as_dict() for anomaly in intake.anomalies],
        "lake_version": lake_version,
    }
    return record, rows_digest.hexdigest(columns)


def _looked_over(stores: Stores, target: _Target, lake_version: int) -> tuple[Statistics, TableDigest]:
    """What an upsert left: replaced rows cannot be taken out of statistics, so they are made anew."""
    statistics, digest = Statistics(weight=target.weight, sliced_by=target.slices), TableDigest()
    for batch in batches_of(stores.lake.scan(lake_table(target.name), lake_version)):
        statistics.add(batch)
        digest.add(batch)
    return statistics, digest


def _figures(statistics: Statistics) -> dict[str, dict[str, Any]]:
    """The summary without its distributions, which the sketches hold."""
    left_out = ("histogram", "quantile_histogram", "weighted")
    return {
        name: {key: value for key, value in column.items() if key not in left_out}
        for name, column in statistics.summary().items()
    }


def _declared(definitions: Definitions, name: str, where: str = "") -> Dataset | DerivedDataset:
    found: Dataset | DerivedDataset | None = definitions.of_kind(KIND).get(name)
    if found is None:
        raise NotFoundError(KIND, name, definitions.of_kind(KIND), where=where)
    return found


@contextmanager
def _derived(stores: Stores, declared: DerivedDataset) -> Iterator[Opened]:
    frames = [nw.from_native(read_dataset(stores, name)) for name in declared.inputs]
    where = f"dataset '{declared.name}'"
    frame = call(declared.function, frames, where)
    try:
        schema = frame.collect_schema()
    except Exception as error:
        raise _failed(where, error) from error
    for column, dtype in schema.items():
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            raise TimeWithoutZone(column, where)
    yield Opened(schema, _computed(frame, where), where=where)


def _computed(frame: pl.LazyFrame, where: str) -> Iterator[pl.DataFrame]:
    try:
        yield from batches_of(frame)
    except pl.exceptions.PolarsError as error:
        raise _failed(where, error) from error


def call(function: Any, frames: list[Any], where: str) -> pl.LazyFrame:
    """Call a user's function on frames, and return its result as a lazy frame; DataError says where it failed."""
    try:
        result = nw.to_native(function(*frames), pass_through=True)
    except CarraraError:
        raise
    except Exception as error:
        raise _failed(where, error) from error
    if not isinstance(result, pl.DataFrame | pl.LazyFrame):
        raise DataError(f"the function of {where} returned {type(result).__name__}, and a frame is expected")
    return result.lazy()


def collect(function: Any, frames: list[Any], where: str) -> pl.DataFrame:
    """What a user's function makes of frames, in memory; DataError says where it failed."""
    try:
        return call(function, frames, where).collect()
    except CarraraError:
        raise
    except Exception as error:
        raise _failed(where, error) from error


def _failed(where: str, error: BaseException) -> DataError:
    return DataError(f"the function of {where} failed: {type(error).__name__}: {error}")
