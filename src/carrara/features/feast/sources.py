"""Feast's data sources: which are read in batches, where a dataset finds the same rows, and what else to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.data.sources.files import FORMATS

_WAREHOUSES = {
    "bigquery_options": "BigQuery",
    "redshift_options": "Redshift",
    "snowflake_options": "Snowflake",
    "spark_options": "Spark",
    "trino_options": "Trino",
    "athena_options": "Athena",
}
_NOT_BATCH = {
    "STREAM_KAFKA": "it is a Kafka stream",
    "STREAM_KINESIS": "it is a Kinesis stream",
    "PUSH_SOURCE": "rows are pushed into it",
    "REQUEST_SOURCE": "it holds the fields of a request; they are named by the on-demand views that read them",
}


@dataclass(frozen=True)
class Place:
    """The Feast repository that paths start from, and the workspace that they are to start from."""

    repository: Path
    root: Path


@dataclass(frozen=True)
class Address:
    """Where a dataset finds its rows, and what keeps them from being read, if anything does."""

    address: str
    problem: str = ""


def batch_sources(sources: Any, views: Any) -> list[Any]:
    """Every batch source, each once by its name: those declared, and those that only a view or a stream holds."""
    found: dict[str, Any] = {}
    for source in [*sources, *(view.batch_source for view in views)]:
        for each in (source, source.batch_source):
            if each.ByteSize() and not why_not_batch(each):
                found.setdefault(each.name or each.file_options.uri, each)
    return list(found.values())


def why_not_batch(source: Any) -> str:
    """Why a source has no rows to read in a batch; empty where it has."""
    known = source.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
    why = _NOT_BATCH.get(known[source.type].name, "") if source.type in known else ""
    return f"{why}; its batch source is {source.batch_source.name}" if why and source.batch_source.name else why


def is_file(source: Any) -> bool:
    return str(source.WhichOneof("options")) == "file_options"


def address_of(source: Any, place: Place) -> Address:
    """The address of a file source's rows, relative to the workspace where they lie below it."""
    uri = source.file_options.uri.removeprefix("file://")
    if "://" in uri:
        endpoint = source.file_options.s3_endpoint_override
        return Address(uri, f"its S3 endpoint {endpoint} is not taken over" if endpoint else _unknown_format(uri))
    path = Path(os.path.normpath(place.repository / uri))
    delta = (path / "_delta_log").is_dir()
    if path.is_dir() and not delta:
        path = path / "*.parquet"
    root = place.root.resolve()
    address = (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
    if delta:
        return Address(address)
    return Address(address, _unknown_format(address) or _absent(path))


def what_it_was(source: Any) -> list[str]:
    """What Feast had of a source that is no file, in lines; the lines of a query follow it."""
    options: Any = getattr(source, source.WhichOneof("options") or "", None)
    table = ".".join(filter(None, (getattr(options, name, "") for name in ("database", "schema", "table"))))
    settings = getattr(options, "configuration", b"").decode(errors="replace")
    query = getattr(options, "query", "")
    said = {"table": table, "path": getattr(options, "path", ""), "with": settings}
    parts = [f"{name} {text}" for name, text in said.items() if text]
    first = ", ".join([f"in Feast this is {kind_of(source)}", *parts])
    return [f"{first}, by the query:", *query.splitlines()] if query else [f"{first}."]


def kind_of(source: Any) -> str:
    """What a source that is no file is, in a word or two."""
    warehouse = _WAREHOUSES.get(source.WhichOneof("options") or "")
    return warehouse or source.data_source_class_type.rpartition(".")[2] or "a source of no known class"


def _unknown_format(address: str) -> str:
    if Path(address).suffix in FORMATS:
        return ""
    return f"the name does not end in one of {', '.join(FORMATS)}, by which a file's format is known"


def _absent(path: Path) -> str:
    there = any(path.parent.glob(path.name)) if "*" in path.name else path.is_file()
    return "" if there else "the file is not there now"
