"""Statistics of a table, in one pass over its batches; those of parts merge to those of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from carrara.core.columns import require_column, require_number
from carrara.core.errors import DataError
from carrara.core.html import card
from carrara.data.column_statistics import ColumnStatistics
from carrara.data.columns_table import columns_table

BATCH_CELLS = 8_000_000
"""How many cells a batch holds, so that wide tables need no more memory than long ones."""

_MOST_ROWS = 131_072
_MOST_SLICES = 100
_FORMAT = 1


@dataclass
class Statistics:
    """The statistics of a table's columns, with sketches that merge; see `summary` for what they say.

    `weight` names the column of weights that the weighted figures count by, and `slices` holds the statistics
    of the rows with each value of a sliced column, by `column=value`.
    """

    rows: int = 0
    columns: dict[str, ColumnStatistics] = field(default_factory=dict)
    weight: str | None = None
    sliced_by: tuple[str, ...] = ()
    slices: dict[str, Statistics] = field(default_factory=dict)

    def add(self, batch: pl.DataFrame) -> None:
        """Take the rows of a batch; all batches have the same columns and types."""
        weights = self._weights(batch)
        for values in batch.iter_columns():
            if values.name not in self.columns:
                self.columns[values.name] = ColumnStatistics.of_type(values.dtype)
            self.columns[values.name].add(values, weights)
        self.rows += batch.height
        for column in self.sliced_by:
            self._add_slices(column, batch)

    def merge(self, other: Statistics) -> None:
        """Add what another part of the table showed; DataError when a column has another type there.

        A column that only one part has counts as null in the other's rows.
        """
        if self.weight != other.weight:
            raise DataError(f"statistics weighted by '{self.weight}' and by '{other.weight}' cannot be merged")
        for name in self.columns.keys() | other.columns.keys():
            mine, theirs = self.columns.get(name), other.columns.get(name)
            if mine is None or theirs is None:
                only, absent = (theirs, self.rows) if mine is None else (mine, other.rows)
                assert only is not None
                mine, theirs = only, ColumnStatistics(only.type, rows=absent, nulls=absent)
                self.columns[name] = mine
            mine.merge(theirs, name)
        self.rows += other.rows
        for name, part in other.slices.items():
            self.slices.setdefault(name, Statistics(weight=self.weight)).merge(part)

    def summary(self) -> dict[str, dict[str, Any]]:
        """What each column holds, as plain data.

        Every column has `type`, `rows`, `nulls` and `distinct` (with `distinct_exact`). Numbers have `mean`, `std`,
        `min`, `max`, `zeros`, `nan`, `infinite`, `quantiles` (eleven, at every tenth), `histogram` (`edges`,
        `counts`: equal widths) and `quantile_histogram` (about equal rows); texts and booleans `top`; texts
        `lengths`; lists `lengths`; times `min`, `max`, `histogram` and `largest_gap`. NaN and infinities are outside
        of the moments. `weighted` repeats the figures by weight.
        """
        return {name: column.summary() for name, column in self.columns.items()}

    def _repr_html_(self) -> str:
        return card(f"{self.rows:,} rows, {len(self.columns)} columns", columns_table(self.summary()))

    def to_bytes(self) -> bytes:
        """The whole state, for `from_bytes`."""
        return msgspec.msgpack.encode({"format": _FORMAT, **self._as_dict()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Statistics:
        found = msgspec.msgpack.decode(data)
        if found.pop("format") != _FORMAT:
            raise DataError("these statistics were written by a later release", hint="Upgrade carrara.")
        return cls._from_dict(found)

    def _weights(self, batch: pl.DataFrame) -> Any:
        if self.weight is None:
            return None
        require_number(batch.schema, self.weight, "the table")
        weights = batch[self.weight].cast(pl.Float64).fill_null(0.0).fill_nan(0.0)
        if (weights < 0).any():
            raise DataError(f"the weights in '{self.weight}' go below zero")
        return weights.to_numpy()

    def _add_slices(self, column: str, batch: pl.DataFrame) -> None:
        require_column(batch.schema, column, "the table")
        for values, part in batch.partition_by(column, as_dict=True).items():
            name = f"{column}={_text(values[0])}"
            if name not in self.slices:
                if len(self.slices) >= _MOST_SLICES * len(self.sliced_by):
                    raise DataError(
                        f"column '{column}' has more than {_MOST_SLICES} values to slice by",
                        hint="Slice by a column of few values; a derived dataset can make one.",
                    )
                self.slices[name] = Statistics(weight=self.weight)
            self.slices[name].add(part)

    def _as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "weight": self.weight,
            "sliced_by": list(self.sliced_by),
            "columns": {name: column.as_dict() for name, column in self.columns.items()},
            "slices": {name: part._as_dict() for name, part in self.slices.items()},
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> Statistics:
        return cls(
            rows=data["rows"],
            weight=data["weight"],
            sliced_by=tuple(data["sliced_by"]),
            columns={name: ColumnStatistics.from_dict(column) for name, column in data["columns"].items()},
            slices={name: cls._from_dict(part) for name, part in data["slices"].items()},
        )


def profile(
    table: pl.LazyFrame | pl.DataFrame | Iterable[pl.DataFrame],
    *,
    weight: str | None = None,
    slices: Sequence[str] = (),
) -> Statistics:
    """The statistics of a table, or of its batches, in one pass and bounded memory.

    >>> profile(pl.DataFrame({"delay": [1, 2, None]})).summary()["delay"]["nulls"]
    1
    """
    statistics = Statistics(weight=weight, sliced_by=tuple(slices))
    for batch in batches_of(table):
        statistics.add(batch)
    return statistics


def batches_of(table: pl.LazyFrame | pl.DataFrame | Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows of a table in batches of a bounded number of cells, in order; at least one, for its columns."""
    if isinstance(table, pl.DataFrame):
        yield from table.iter_slices(batch_rows(table.width)) if table.height else [table]
        return
    if not isinstance(table, pl.LazyFrame):
        yield from table
        return
    schema = table.collect_schema()
    batches = table.collect_batches(chunk_size=batch_rows(len(schema)), maintain_order=True, engine="streaming")
    empty = True
    for batch in batches:
        empty = False
        yield batch
    if empty:
        yield pl.DataFrame(schema=schema)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def batch_rows(columns: int) -> int:
    """How many rows of so many columns make a batch."""
    return max(1, min(_MOST_ROWS, BATCH_CELLS // max(columns, 1)))
