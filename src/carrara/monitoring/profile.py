"""What a stretch of the log holds of every feature and of the scores: sketches that merge, in one pass.

The profile of a day is the merged profile of its hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import DataError
from carrara.data.sketches.frequent import FrequentSketch
from carrara.data.sketches.quantiles import QuantileSketch
from carrara.monitoring.drift import Counts, ReferenceDistribution, histogram

_MOST_CATEGORIES = 50
_BINS = 10
_BATCH_VALUES = 4_000_000
_COLUMNS_AT_A_TIME = 64
"""Of a thousand columns together a batch would be a few rows of each, and each costs a sketch its fixed price."""


@dataclass
class ColumnProfile:
    """One column: how often it is missing (null, NaN or infinite), and the distribution of what is there.

    `counts` are the rows in the bins of a reference, exact, where there was one.
    """

    rows: int = 0
    missing: int = 0
    numbers: QuantileSketch | None = None
    texts: FrequentSketch | None = None
    counts: Counts | None = None

    def add(self, values: pl.Series, reference: ReferenceDistribution | None = None) -> None:
        """Take a batch."""
        self.rows += len(values)
        if (
            values.dtype in (pl.String, pl.Categorical)
            or isinstance(values.dtype, pl.Enum)
            or (reference is not None and reference.edges is None)
        ):
            self._add_texts(values.cast(pl.String), reference)
        else:
            self._add_numbers(values, reference)

    def merge(self, other: ColumnProfile) -> None:
        """Add all that another profile of the column has seen."""
        self.rows += other.rows
        self.missing += other.missing
        if other.numbers is not None:
            self.numbers = self.numbers or QuantileSketch()
            self.numbers.merge(other.numbers)
        if other.texts is not None:
            self.texts = self.texts or FrequentSketch()
            self.texts.merge(other.texts)
        if other.counts is not None:
            self.counts = other.counts if self.counts is None else self.counts + other.counts

    def distribution(self) -> ReferenceDistribution:
        """What later profiles of the column are compared with; DataError without rows."""
        if not self.rows:
            raise DataError("a profile without rows has no distribution")
        if self.texts is not None:
            categories = tuple(sorted(name for name, _ in self.texts.top(_MOST_CATEGORIES)))
            binned = ReferenceDistribution(np.empty(0, np.int64), None, categories)
            return replace(binned, counts=self.counts_in(binned))
        sketch = self.numbers or QuantileSketch()
        edges = np.unique(sketch.quantiles(np.arange(1, _BINS) / _BINS)) if sketch.total else np.empty(0)
        if sketch.exact and edges.size:
            # A value that fills a bin by itself is cut off on both sides, as `quantile_edges` does.
            edges = np.unique(np.concatenate([edges, np.nextafter(edges, np.inf)]))
        binned = ReferenceDistribution(np.empty(0, np.int64), edges)
        return replace(binned, counts=self.counts_in(binned))

    def counts_in(self, reference: ReferenceDistribution) -> Counts:
        """The rows in the bins of any distribution: exact as far as the sketches are."""
        if reference.edges is None:
            there = dict((self.texts or FrequentSketch()).counts.iter_rows())
            known = [there.get(name, 0.0) for name in reference.categories]
            other = max(self.rows - self.missing - sum(known), 0.0)
            return np.rint([*known, other, self.missing]).astype(np.int64)
        sketch = self.numbers or QuantileSketch()
        until = np.concatenate([[0.0], sketch.below(reference.edges), [sketch.total]])
        return np.append(np.diff(np.rint(until)), self.missing).astype(np.int64)

    def outside(self, low: float, high: float) -> float:
        """The share of the rows that have a number below `low` or above `high`."""
        if self.numbers is None or not self.rows:
            return 0.0
        below, until = self.numbers.below([low, np.nextafter(high, np.inf)])
        return float(below + self.numbers.total - until) / self.rows

    @property
    def missing_share(self) -> float:
        return self.missing / self.rows if self.rows else float("nan")

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "missing": self.missing,
            "numbers": None if self.numbers is None else self.numbers.as_dict(),
            "texts": None if self.texts is None else self.texts.as_dict(),
            "counts": None if self.counts is None else self.counts.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ColumnProfile:
        return cls(
            rows=data["rows"],
            missing=data["missing"],
            numbers=None if data["numbers"] is None else QuantileSketch.from_dict(data["numbers"]),
            texts=None if data["texts"] is None else FrequentSketch.from_dict(data["texts"]),
            counts=None if data["counts"] is None else np.array(data["counts"], np.int64),
        )

    def _add_numbers(self, values: pl.Series, reference: ReferenceDistribution | None) -> None:
        numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if reference is not None and reference.edges is not None:
            self._count(histogram(numbers, reference.edges))
        there = numbers if np.isfinite(numbers.sum()) else numbers[np.isfinite(numbers)]
        self.missing += int(numbers.size - there.size)
        self.numbers = self.numbers or QuantileSketch()
        self.numbers.add(there)

    def _add_texts(self, values: pl.Series, reference: ReferenceDistribution | None) -> None:
        counts = values.alias("value").drop_nulls().value_counts(name="rows")
        self.missing += values.null_count()
        if reference is not None:
            there = dict(counts.iter_rows())
            known = [there.get(name, 0) for name in reference.categories]
            rest = len(values) - values.null_count() - sum(known)
            self._count(np.array([*known, rest, values.null_count()], np.int64))
        self.texts = self.texts or FrequentSketch()
        self.texts.add(counts.with_columns(pl.col("rows").cast(pl.Float64)))

    def _count(self, counts: npt.NDArray[np.int64]) -> None:
        self.counts = counts if self.counts is None else self.counts + counts


@dataclass
class Profile:
    """The profile of each column of a stretch of the log."""

    rows: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)

    def add(self, frame: pl.DataFrame, references: Mapping[str, ReferenceDistribution]) -> None:
        """Take a batch of rows."""
        self.rows += frame.height
        for values in frame.iter_columns():
            self.columns.setdefault(values.name, ColumnProfile()).add(values, references.get(values.name))

    def merge(self, other: Profile) -> None:
        self.rows += other.rows
        for name, column in other.columns.items():
            self.columns.setdefault(name, ColumnProfile()).merge(column)

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "columns": {name: column.as_dict() for name, column in self.columns.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Profile:
        columns = {name: ColumnProfile.from_dict(column) for name, column in data["columns"].items()}
        return cls(data["rows"], columns)


def profile_table(
    rows: pl.LazyFrame, columns: Sequence[str], references: Mapping[str, ReferenceDistribution]
) -> Profile:
    """The profile of some columns of a table, some of them at a time, in the memory of a batch and of the sketches."""
    profile = Profile()
    for start in range(0, len(columns), _COLUMNS_AT_A_TIME):
        part = profile_rows(_batches(rows, columns[start : start + _COLUMNS_AT_A_TIME]), references)
        profile.rows, profile.columns = part.rows, {**profile.columns, **part.columns}
    return profile


def profile_rows(batches: Iterable[pl.DataFrame], references: Mapping[str, ReferenceDistribution]) -> Profile:
    """One pass over batches; memory is that of a batch and of the sketches."""
    profile = Profile()
    for batch in batches:
        profile.add(batch, references)
    return profile


def _batches(rows: pl.LazyFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of rows, about four million values at a time."""
    size = max(_BATCH_VALUES // len(columns), 1_024)
    yield from rows.select(columns).collect_batches(chunk_size=size, maintain_order=True)
