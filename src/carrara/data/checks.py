"""A dataset by its name, held against its schema: one of its versions, or data that are not in it yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from carrara.core.errors import NotFoundError
from carrara.data.anomalies import Anomaly
from carrara.data.dataset import Dataset
from carrara.data.schema import Schema
from carrara.data.schema_file import proposed, schema_file, schema_of, schema_text, text_diff
from carrara.data.sources.files import Files
from carrara.data.sources.frames import Frame
from carrara.data.statistics import Statistics
from carrara.data.storable import storable, storable_schema
from carrara.data.validation import Baselines, Examined, examine, validate
from carrara.data.versions import (
    KIND,
    DatasetVersion,
    dataset_version,
    from_record,
    quarantine_table,
    read_dataset,
    read_statistics,
)
from carrara.metadata.versions import find_version
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class Checked:
    """What was examined, the schema and the baselines that it was held against, and where it differs."""

    name: str
    examined: Examined
    schema: Schema
    baselines: Baselines
    anomalies: list[Anomaly]

    @property
    def statistics(self) -> Statistics:
        return self.examined.statistics


def check_version(
    stores: Stores, name: str, version: int | None = None, *, training: int | None = None, environment: str = ""
) -> Checked:
    """Hold a version (by default the newest) against the schema as it is now, and against the version before it.

    `training` is a version whose statistics the skew is measured against.
    """
    found = dataset_version(stores, name, version)
    before = find_version(stores.metadata, KIND, name, found.version - 1)
    previous = from_record(before) if before is not None else None
    rows = read_dataset(stores, name, found.version)
    return _checked(stores, name, rows, found, previous, training, environment)


def check_data(
    stores: Stores,
    name: str,
    data: Any,
    declared: Dataset | None = None,
    *,
    training: int | None = None,
    environment: str = "",
) -> Checked:
    """Hold a file (by its address) or a dataframe against a dataset's schema, and against its newest version.

    `declared` says how the dataset's files are to be read: types, separators, encodings.
    """
    newest = dataset_version(stores, name)
    source = Files(str(data)) if isinstance(data, str | Path) else Frame(data)
    reading = (declared or Dataset(name, "")).reading()
    with source.open(stores.root, reading) as opened:
        types = {column: dtype for column, dtype in reading.types.items() if column in opened.schema}
        columns = storable_schema(opened.schema, types, opened.where)
        batches = (storable(batch, columns, types, opened.where) for batch in opened.batches)
        return _checked(stores, name, batches, newest, newest, training, environment)


def _checked(
    stores: Stores,
    name: str,
    table: Any,
    version: DatasetVersion,
    previous: DatasetVersion | None,
    training: int | None,
    environment: str,
) -> Checked:
    schema = schema_of(stores.root, name, {"schema": version.schema}) or Schema({})
    baselines = Baselines(
        read_statistics(stores, previous) if previous is not None else None,
        read_statistics(stores, dataset_version(stores, name, training)) if training is not None else None,
        previous.rows if previous is not None and version.added == version.rows else None,
    )
    examined = examine(table, schema.in_environment(environment))
    anomalies = validate(examined, schema, baselines, environment=environment)
    return Checked(name, examined, schema, baselines, anomalies)


def written_schema(stores: Stores, name: str) -> str:
    """The TOML of a dataset's schema: of its file, or of its newest version's."""
    path = schema_file(stores.root, name)
    if path is not None:
        return path.read_text(encoding="utf-8")
    found = schema_of(stores.root, name, {"schema": dataset_version(stores, name).schema})
    assert found is not None
    return schema_text(found)


def propose(stores: Stores, name: str, checked: Checked) -> tuple[str, str]:
    """The schema's TOML that would accept what was checked, and how it differs from today's as a unified diff."""
    before = written_schema(stores, name)
    after = proposed(before, checked.anomalies)
    return after, text_diff(before, after, name)


def read_quarantine(stores: Stores, name: str) -> pl.DataFrame:
    """The rows that were set aside at the last ingest of a dataset that had any, with the reasons in `_anomalies`."""
    if not stores.lake.exists(quarantine_table(name)):
        raise NotFoundError("quarantine of dataset", name, hint="No row was ever set aside: none was guilty.")
    return stores.lake.scan(quarantine_table(name)).collect()
