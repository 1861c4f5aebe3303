"""What happens to rows on their way into a dataset: typed, counted, held against the schema, and let in or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from carrara.core.errors import CheckFailed
from carrara.core.progress import Step
from carrara.data.anomalies import Anomaly
from carrara.data.row_checks import RowFindings, guilty_of, guilty_rows
from carrara.data.schema import Schema
from carrara.data.schema_inference import infer_schema
from carrara.data.sources.base import Opened
from carrara.data.statistics import Statistics
from carrara.data.storable import storable
from carrara.data.table_digest import TableDigest
from carrara.data.validation import Baselines, Examined, validate

_MOST_ASIDE = 10_000


class Unchanged(Exception):
    """The rows are those of the version before."""


@dataclass
class Intake:
    """One pass over incoming rows. Its batches end with the gate, so that what is written is what was let in.

    `schema` is what the rows are held against, None for a first version, which is taken as it is. `kept` are the
    statistics of the rows that were let in; `aside` counts those that were not.
    """

    name: str
    columns: pl.Schema
    types: Mapping[str, pl.DataType]
    schema: Schema | None
    previous: Statistics | None
    previous_digest: str | None
    replaces: bool
    key: tuple[str, ...]
    statistics: Statistics
    digest: TableDigest = field(default_factory=TableDigest)
    anomalies: list[Anomaly] = field(default_factory=list)
    aside: int = 0
    _guilty: list[pl.DataFrame] = field(default_factory=list)
    _suspects: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        held = self.schema or Schema({}, key=self.key)
        self._held = held
        self._findings = RowFindings(held)
        self._quarantined = guilty_of(held, self.columns, "quarantine")
        self._stopping = guilty_of(held, self.columns, "stop")
        self.kept = self.statistics
        if self._quarantined is not None:
            self.kept = Statistics(weight=self.statistics.weight, sliced_by=self.statistics.sliced_by)

    def batches(self, opened: Opened, step: Step | None) -> Iterator[pl.DataFrame]:
        """The rows to write. After the last batch it raises CheckFailed when the schema refuses them, and Unchanged
        when they are those that were there."""
        where = f"dataset '{self.name}'"
        for batch in opened.batches:
            before = self.statistics.rows
            typed = storable(batch, self.columns, self.types, where, lambda row: opened.place(before + row))  # noqa: B023
            self._count(typed)
            kept = typed if self._quarantined is None else self._without_guilty(typed)
            self.digest.add(kept)
            yield kept
            if step is not None:
                step.advance(self.statistics.rows, opened.rows)
        self._gate()

    def accepted(self) -> Schema:
        """The schema of the version: what it was held against, or what its own rows show."""
        return self.schema or infer_schema(self.kept, self.name, self.key)

    def set_aside(self) -> pl.DataFrame:
        """The guilty rows, up to 10,000, with the reasons in `_anomalies`."""
        return pl.concat(self._guilty)

    def _count(self, batch: pl.DataFrame) -> None:
        self.statistics.add(batch)
        self._findings.add(batch)
        if self._stopping is not None and sum(part.height for part in self._suspects) < _MOST_ASIDE:
            self._suspects.append(batch.filter(self._stopping))

    def _without_guilty(self, batch: pl.DataFrame) -> pl.DataFrame:
        assert self._quarantined is not None
        kept = batch.filter(~self._quarantined)
        if kept.height < batch.height:
            self._keep_aside(batch.filter(self._quarantined))
        self.kept.add(kept)
        return kept

    def _keep_aside(self, guilty: pl.DataFrame) -> None:
        if guilty.is_empty():
            return
        room = _MOST_ASIDE - sum(part.height for part in self._guilty)
        self.aside += guilty.height
        self._guilty.append(guilty_rows(guilty, self._held).head(max(room, 0)))

    def _gate(self) -> None:
        if self.digest.hexdigest(self.columns) == self.previous_digest and self._counted_as_before():
            raise Unchanged
        if self.schema is None:
            self._require_unique()
            return
        baselines = Baselines(self.previous, rows=self.previous.rows if self.previous and self.replaces else None)
        self.anomalies = validate(Examined(self.statistics, self._findings), self.schema, baselines)
        stops = [anomaly.message for anomaly in self.anomalies if anomaly.severity == "stop"]
        if stops:
            for suspects in self._suspects:
                self._keep_aside(suspects)
            raise CheckFailed(
                f"dataset '{self.name}' is not what its schema says; the last good version stays in use",
                stops,
                hint=f"Correct the source, or accept the change: carrara dataset ingest {self.name} --accept-schema.",
            )

    def _counted_as_before(self) -> bool:
        before, now = self.previous, self.statistics
        return before is not None and (before.weight, before.sliced_by) == (now.weight, now.sliced_by)

    def _require_unique(self) -> None:
        for key, found in self._findings.repeats().items():
            if found.rows:
                raise CheckFailed(
                    f"dataset '{self.name}' has {found.rows:,} rows that repeat the key {', '.join(key)} of another",
                    hint="Name a key that tells rows apart, or drop the repeats in the source.",
                )
