"""Ingest: from a source, or from other datasets, to the next version of a dataset; unchanged means no new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import narwhals as nw
import polars as pl

from carrara.core.columns import UTC_TIME
from carrara.core.definitions import Definitions, spec_digest
from carrara.core.digests import digest_data, digest_file
from carrara.core.errors import (
    CarraraError,
    CheckFailed,
    DataError,
    DefinitionCycle,
    NotFoundError,
    TimeWithoutZone,
)
from carrara.data.dataset import Dataset, DerivedDataset
from carrara.data.schema import infer_schema, validate
from carrara.data.sources import locate, read
from carrara.data.statistics import column_statistics
from carrara.data.versions import (
    KIND,
    DatasetVersion,
    dataset_version,
    digest_frame,
    from_record,
    lake_table,
    read_dataset,
)
from carrara.metadata.runs import run
from carrara.metadata.versions import add_version, find_version
from carrara.storage import Stores


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


def ingest(stores: Stores, definitions: Definitions, name: str, *, accept_schema: bool = False) -> Ingested:
    """Bring one dataset up to date with its source, or with the newest versions of its inputs.

    Raises DataError for a source that cannot be read, CheckFailed for one that its schema refuses; the
    last good version then stays the newest. `accept_schema` takes what is there now as the schema.
    """
    declared = _declared(definitions, name)
    source, sources = _source(stores, definitions, declared)
    key = digest_data([spec_digest(declared), source])
    newest = find_version(stores.metadata, KIND, name)
    if newest is not None and newest.record["key"] == key and not accept_schema:
        return Ingested(from_record(newest), reused=True)
    with run(stores.metadata, "ingest", name, {"source": source}) as run_id:
        frame = _rows(stores, declared)
        previous = from_record(newest) if newest is not None and not accept_schema else None
        record = {"key": key, "source": source, **_examined(name, frame, previous)}
        record["lake_version"] = stores.lake.write(lake_table(name), frame)
        digest = digest_frame(frame)
        made = add_version(stores.metadata, KIND, name, digest=digest, run_id=run_id, record=record, sources=sources)
    return Ingested(from_record(made), reused=False)


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


def _declared(definitions: Definitions, name: str, where: str = "") -> Dataset | DerivedDataset:
    found: Dataset | DerivedDataset | None = definitions.of_kind(KIND).get(name)
    if found is None:
        raise NotFoundError(KIND, name, definitions.of_kind(KIND), where=where)
    return found


def _source(
    stores: Stores, definitions: Definitions, declared: Dataset | DerivedDataset
) -> tuple[dict[str, Any], list[str]]:
    if isinstance(declared, Dataset):
        digest = digest_file(locate(declared, stores.root))
        return {"file": declared.source, "digest": digest}, [f"file:{declared.source}#{digest[:12]}"]
    for name in declared.inputs:
        _declared(definitions, name, where=f"dataset '{declared.name}'")
    inputs = [dataset_version(stores, name) for name in declared.inputs]
    return {"datasets": {v.name: [v.version, v.digest] for v in inputs}}, [v.address for v in inputs]


def _rows(stores: Stores, declared: Dataset | DerivedDataset) -> pl.DataFrame:
    if isinstance(declared, Dataset):
        return read(declared, locate(declared, stores.root))
    frames = [nw.from_native(read_dataset(stores, name)) for name in declared.inputs]
    where = f"dataset '{declared.name}'"
    frame = collect(declared.function, frames, where)
    for column, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            raise TimeWithoutZone(column, where)
    return frame.with_columns(pl.col(c).cast(UTC_TIME) for c, t in frame.schema.items() if isinstance(t, pl.Datetime))


def collect(function: Any, frames: list[Any], where: str) -> pl.DataFrame:
    """Call a user's function on frames and collect what it returns; DataError says where it failed."""
    try:
        result = nw.to_native(function(*frames), pass_through=True)
        frame = result.collect() if isinstance(result, pl.LazyFrame) else result
    except CarraraError:
        raise
    except Exception as error:
        raise DataError(f"the function of {where} failed: {type(error).__name__}: {error}") from error
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"the function of {where} returned {type(frame).__name__}, and a frame is expected")
    return frame


def _examined(name: str, frame: pl.DataFrame, previous: DatasetVersion | None) -> dict[str, Any]:
    statistics = column_statistics(frame)
    schema = previous.schema if previous is not None else infer_schema(statistics)
    anomalies = validate(statistics, schema)
    stops = [a.message for a in anomalies if a.severity == "stop"]
    if stops and previous is not None:
        raise CheckFailed(
            f"dataset '{name}' is not what its schema says; version {previous.version} stays in use",
            stops,
            hint=f"Correct the source, or accept the change: carrara dataset ingest {name} --accept-schema.",
        )
    return {
        "rows": frame.height,
        "statistics": statistics,
        "schema": schema,
        "anomalies": [asdict(a) for a in anomalies],
    }
