"""Versions of datasets: what is recorded of each, and reading one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from carrara.core.errors import NotFoundError
from carrara.core.figures import when
from carrara.core.html import card, figures, section, state, table
from carrara.data.columns_table import columns_table
from carrara.data.statistics import Statistics
from carrara.metadata.versions import Version, get_version, list_versions
from carrara.storage.stores import Stores

KIND = "dataset"


@dataclass(frozen=True)
class DatasetVersion:
    """One immutable version of a dataset, with its statistics and the schema that it was held against.

    `statistics` are the figures of each column (`read_statistics` has all, with distributions), `added` are the
    rows that this version brought, and `quarantined` those that were set aside.
    """

    name: str
    version: int
    digest: str
    rows: int
    added: int
    quarantined: int
    created_at: datetime
    run_id: str
    created_by: str
    source: dict[str, Any]
    statistics: dict[str, dict[str, Any]]
    schema: dict[str, Any]
    anomalies: list[dict[str, Any]]
    lake_version: int
    sketches: str

    @property
    def address(self) -> str:
        return f"{KIND}:{self.name}@{self.version}"

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "created_at": self.created_at.isoformat()}

    def _repr_html_(self) -> str:
        wrong = [
            (state(one["severity"], "warn"), one["column"] or "the table", one["message"]) for one in self.anomalies
        ]
        counts = {"Rows": self.rows, "Added": self.added, "Set aside": self.quarantined, "Anomalies": len(wrong)}
        return card(
            f"{self.name}@{self.version}",
            figures(counts),
            section("Anomalies", table(["", "column", "what is not as the schema says"], wrong) if wrong else ""),
            columns_table(self.statistics),
            lead=f"made {when(self.created_at)} UTC by {self.created_by}",
        )


def dataset_version(stores: Stores, name: str, version: int | None = None) -> DatasetVersion:
    """A version of a dataset, or its newest; NotFoundError names the nearest dataset."""
    return from_record(get_version(stores.metadata, KIND, name, version))


def version_as_of(stores: Stores, name: str, at: datetime) -> DatasetVersion:
    """The version that was the newest at a time; NotFoundError when there was none yet."""
    found = [v for v in list_versions(stores.metadata, KIND, name) if v.created_at <= at]
    if not found:
        first = get_version(stores.metadata, KIND, name, 1)
        raise NotFoundError(
            "version of dataset", f"{name} as of {at.isoformat()}", hint=f"Its first was made {first.created_at}."
        )
    return from_record(found[-1])


def list_datasets(stores: Stores) -> list[DatasetVersion]:
    """Every version of every dataset, oldest first."""
    return [from_record(found) for found in list_versions(stores.metadata, KIND)]


def read_dataset(stores: Stores, name: str, version: int | None = None) -> pl.LazyFrame:
    """The rows of a version of a dataset, or of its newest."""
    found = dataset_version(stores, name, version)
    return stores.lake.scan(lake_table(name), found.lake_version)


def read_statistics(stores: Stores, version: DatasetVersion) -> Statistics:
    """The statistics of a version, with the sketches that they merge and compare by."""
    return Statistics.from_bytes(stores.artifacts.get(version.sketches, name=f"statistics of {version.address}"))


def lake_table(name: str) -> str:
    return f"datasets/{name}"


def quarantine_table(name: str) -> str:
    return f"quarantine/{name}"


def from_record(found: Version) -> DatasetVersion:
    return DatasetVersion(
        name=found.name,
        version=found.version,
        digest=found.digest,
        created_at=found.created_at,
        run_id=found.run_id,
        **{k: v for k, v in found.record.items() if k not in ("key", "rows_digest", "added_digest")},
    )
