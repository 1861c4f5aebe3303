"""`ws.datasets`: ingest, versions, statistics, schema, validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.core.errors import CarraraError
from carrara.core.progress import Progress

if TYPE_CHECKING:
    import polars as pl

    from carrara.data.anomalies import Anomaly
    from carrara.data.association import Association
    from carrara.data.checks import Checked
    from carrara.data.dataset import Dataset, Mode
    from carrara.data.diff import DatasetDiff
    from carrara.data.ingest import Ingested
    from carrara.data.statistics import Statistics
    from carrara.data.versions import (
        DatasetVersion,
    )
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class Datasets:
    """The datasets of a workspace."""

    workspace: Workspace

    def ingest(self, *names: str, accept_schema: bool = False, progress: Progress | None = None) -> list[Ingested]:
        """Bring datasets (by default all) up to date; `accept_schema` takes what is there as the new schema."""

        from carrara.pipelines.prepare import ingest_for

        stores, definitions = self.workspace.stores, self.workspace.definitions
        wanted = names or tuple(definitions.of_kind("dataset"))
        return ingest_for(stores, definitions, wanted, accept_schema=accept_schema, progress=progress)

    def ingest_from(
        self,
        name: str,
        source: Any,
        *,
        mode: Mode = "replace",
        key: Sequence[str] = (),
        accept_schema: bool = False,
        progress: Progress | None = None,
        **declared: Any,
    ) -> Ingested:
        """Ingest a file (by its address), a `Sql` or `DuckDB` query, or a dataframe into a dataset that no
        definition names; `declared` are the other arguments of `Dataset`."""

        from carrara.data.dataset import Dataset
        from carrara.data.ingest import ingest_dataset
        from carrara.pipelines.prepare import describe_ingest

        dataset = Dataset(name, _as_source(source), mode=mode, key=tuple(key), **declared)
        with (progress or Progress()).step(name) as step:
            found = ingest_dataset(self.workspace.stores, dataset, accept_schema=accept_schema, step=step)
            describe_ingest(step, found)
        return found

    def versions(self, name: str | None = None) -> list[DatasetVersion]:
        """Every version of every dataset, or of one, oldest first."""

        from carrara.data.versions import dataset_version, list_datasets

        if name is not None:
            dataset_version(self.workspace.stores, name)
        return [v for v in list_datasets(self.workspace.stores) if name in (None, v.name)]

    def get(self, name: str, version: int | None = None, *, as_of: datetime | None = None) -> DatasetVersion:
        """A version, the newest, or the one that was the newest at a time."""

        from carrara.data.versions import dataset_version, version_as_of

        if as_of is not None:
            return version_as_of(self.workspace.stores, name, as_of)
        return dataset_version(self.workspace.stores, name, version)

    def read(self, name: str, version: int | None = None, *, as_of: datetime | None = None) -> pl.LazyFrame:
        """The rows of a version, of the newest, or of the one that was the newest at a time."""

        from carrara.data.versions import read_dataset

        return read_dataset(self.workspace.stores, name, self.get(name, version, as_of=as_of).version)

    def statistics(
        self, name: str, version: int | None = None, *, slices: Sequence[str] = (), weight: str | None = None
    ) -> Statistics:
        """The statistics of a version as stored; by slices or weights, made by one more pass over its rows."""

        from carrara.data.statistics import profile
        from carrara.data.versions import read_statistics

        if slices or weight:
            return profile(self.read(name, version), slices=slices, weight=weight)
        return read_statistics(self.workspace.stores, self.get(name, version))

    def association(self, name: str, label: str, version: int | None = None) -> list[Association]:
        """How much each column tells of a label: correlation and mutual information, the most first."""

        from carrara.data.association import associations

        return associations(self.read(name, version), self.statistics(name, version), label)

    def schema(self, name: str) -> str:
        """The schema's TOML: of the file `schemas/NAME.toml`, or of the newest version."""

        from carrara.data.checks import written_schema

        return written_schema(self.workspace.stores, name)

    def infer_schema(self, name: str, *, force: bool = False) -> Path:
        """Write `schemas/NAME.toml` from the newest version's statistics; one that is there stays, unless forced."""

        from carrara.data.schema_file import schema_path, schema_text, write_schema
        from carrara.data.schema_inference import infer_schema

        stores, found = self.workspace.stores, self.get(name)
        path = schema_path(stores.root, name)
        if path.is_file() and not force:
            raise CarraraError(
                f"{path} is there already",
                hint=f"See what it lacks with carrara dataset schema diff {name}, or write over it with --force.",
            )
        key = tuple(found.schema.get("key", ()))
        return write_schema(stores.root, name, schema_text(infer_schema(self.statistics(name), name, key)))

    def propose_schema(self, name: str, *, data: Any = None) -> tuple[str, str]:
        """The schema's TOML that would accept the newest version, or `data`, and its diff from today's."""

        from carrara.data.checks import propose

        return propose(self.workspace.stores, name, self.check(name, data=data))

    def update_schema(self, name: str, *, data: Any = None) -> tuple[Path, str]:
        """Write what `propose_schema` proposes, and return the schema's file with the diff."""

        from carrara.data.schema_file import write_schema

        text, changes = self.propose_schema(name, data=data)
        return write_schema(self.workspace.root, name, text), changes

    def check(
        self,
        name: str,
        version: int | None = None,
        *,
        data: Any = None,
        training: int | None = None,
        environment: str = "",
    ) -> Checked:
        """Hold a version, or `data` (a file's address or a dataframe), against the schema of a dataset."""

        from carrara.data.checks import check_data, check_version

        stores = self.workspace.stores
        if data is None:
            return check_version(stores, name, version, training=training, environment=environment)
        return check_data(stores, name, data, self._declared(name), training=training, environment=environment)

    def validate(
        self,
        name: str,
        version: int | None = None,
        *,
        data: Any = None,
        training: int | None = None,
        environment: str = "",
    ) -> list[Anomaly]:
        """The anomalies of a version, or of `data`, against the schema of a dataset, worst first."""
        return self.check(name, version, data=data, training=training, environment=environment).anomalies

    def _declared(self, name: str) -> Dataset | None:
        """What the definitions say of a dataset, where there are any: `ingest_from` needs none."""

        from carrara.data.dataset import Dataset

        if not all(path.is_file() for path in self.workspace.configuration.definition_files):
            return None
        found = self.workspace.definitions.of_kind("dataset").get(name)
        return found if isinstance(found, Dataset) else None

    def quarantine(self, name: str) -> pl.DataFrame:
        """The rows that were set aside at ingest, with the reasons."""

        from carrara.data.checks import read_quarantine

        return read_quarantine(self.workspace.stores, name)

    def diff(
        self, name: str, before: int | None = None, after: int | None = None, *, key: Sequence[str] = ()
    ) -> DatasetDiff:
        """What changed between two versions (by default the newest and the one before), also row by row by `key`."""

        from carrara.data.diff import diff_versions

        return diff_versions(self.workspace.stores, name, before, after, tuple(key))

    def report(
        self, name: str, version: int | None = None, *, against: int | None = None, path: Path | None = None
    ) -> Path:
        """Write a version, or two side by side, as one self-contained HTML page and return its path."""
        from carrara.data.report import write_report

        return write_report(self.workspace.stores, name, version, against, path)


def _as_source(source: Any) -> Any:
    from carrara.data.sources.duckdb import DuckDB
    from carrara.data.sources.files import Files
    from carrara.data.sources.frames import Frame
    from carrara.data.sources.sql import Sql

    if isinstance(source, str | Sql | DuckDB | Files):
        return source
    return str(source) if isinstance(source, Path) else Frame(source)
