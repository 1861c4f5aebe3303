"""Versions of datasets: what is recorded of each, and reading one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from carrara.core.digests import digest_bytes, digest_data
from carrara.core.html import html_table
from carrara.metadata.versions import Version, get_version, list_versions
from carrara.storage import Stores

KIND = "dataset"


@dataclass(frozen=True)
class DatasetVersion:
    """One immutable version of a dataset, with its statistics and the schema that it was held against."""

    name: str
    version: int
    digest: str
    rows: int
    created_at: datetime
    run_id: str
    source: dict[str, Any]
    statistics: dict[str, dict[str, Any]]
    schema: dict[str, dict[str, Any]]
    anomalies: list[dict[str, Any]]
    lake_version: int

    @property
    def address(self) -> str:
        return f"{KIND}:{self.name}@{self.version}"

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "created_at": self.created_at.isoformat()}

    def _repr_html_(self) -> str:
        rows = [(name, s["type"], s["nulls"], s["distinct"]) for name, s in self.statistics.items()]
        return html_table(
            f"{self.name}@{self.version}, {self.rows:,} rows", ["column", "type", "nulls", "distinct"], rows
        )


def dataset_version(stores: Stores, name: str, version: int | None = None) -> DatasetVersion:
    """A version of a dataset, or its newest; NotFoundError names the nearest dataset."""
    return from_record(get_version(stores.metadata, KIND, name, version))


def list_datasets(stores: Stores) -> list[DatasetVersion]:
    """Every version of every dataset, oldest first."""
    return [from_record(found) for found in list_versions(stores.metadata, KIND)]


def read_dataset(stores: Stores, name: str, version: int | None = None) -> pl.LazyFrame:
    """The rows of a version of a dataset, or of its newest."""
    found = dataset_version(stores, name, version)
    return stores.lake.scan(lake_table(name), found.lake_version)


def lake_table(name: str) -> str:
    return f"datasets/{name}"


def from_record(found: Version) -> DatasetVersion:
    return DatasetVersion(
        name=found.name,
        version=found.version,
        digest=found.digest,
        created_at=found.created_at,
        run_id=found.run_id,
        **{k: v for k, v in found.record.items() if k != "key"},
    )


def digest_frame(frame: pl.DataFrame) -> str:
    """A digest of a table's column names, types and rows, in any order: engines do not promise one.

    >>> digest_frame(pl.DataFrame({"a": [1, 2]})) == digest_frame(pl.DataFrame({"a": [2, 1]}))
    True
    >>> digest_frame(pl.DataFrame({"a": [1, 2]})) == digest_frame(pl.DataFrame({"a": [2, 2]}))
    False
    """
    names = {name: str(dtype) for name, dtype in frame.schema.items()}
    return digest_bytes(digest_data(names).encode() + frame.hash_rows(seed=0).sort().to_numpy().tobytes())
