"""Rows of a table, in memory or in the lake: what splits make, and what training and evaluation read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import polars as pl

from carrara.core.columns import require_column
from carrara.core.digests import digest_bytes
from carrara.data.splits import PARTS, Split

BATCH_ROWS = 131_072

_ROW = "_carrara_row"


class Rows(Protocol):
    """What a `polars.DataFrame` and `StoredRows` have in common."""

    @property
    def height(self) -> int: ...

    @property
    def schema(self) -> pl.Schema: ...

    def __getitem__(self, name: str, /) -> pl.Series:
        """A column, in memory."""

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        """Some columns, in memory."""

    def filter(self, *conditions: pl.Expr) -> Rows: ...

    def gather_every(self, n: int, /) -> Rows:
        """Every n-th row, from the first."""


class StoredRows:
    """The rows of a table in the lake that are `wanted`, in the table's order; only what is asked for is read."""

    def __init__(self, table: pl.LazyFrame, wanted: pl.Series, schema: pl.Schema | None = None) -> None:
        self._table, self._wanted = table, wanted
        self.height = int(wanted.sum())
        self.schema = table.collect_schema() if schema is None else schema

    def __getitem__(self, name: str, /) -> pl.Series:
        require_column(self.schema, name, "the training set")
        return self.select([name])[name]

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        # In batches: of a table that is larger than memory, what is not wanted is never held.
        return pl.concat([pl.DataFrame(schema={name: self.schema[name] for name in names}), *self.batches(names)])

    def filter(self, *conditions: pl.Expr) -> StoredRows:
        met = self._table.select(pl.all_horizontal(conditions).fill_null(False)).collect().to_series()
        return StoredRows(self._table, self._wanted & met)

    def stretch(self, first: int, rows: int) -> StoredRows:
        """Those among so many rows of the table, from its row `first` on; nothing else of it is read."""
        return StoredRows(self._table.slice(first, rows), self._wanted.slice(first, rows), self.schema)

    @property
    def wanted_digest(self) -> str:
        """Of which rows of the table are wanted."""
        return digest_bytes(np.packbits(self._wanted.to_numpy()).tobytes())

    def gather_every(self, n: int, /) -> StoredRows:
        place = self._wanted.cast(pl.UInt64).cum_sum() - 1
        return StoredRows(self._table, self._wanted & (place % n == 0))

    def batches(self, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        read = 0
        for batch in self._table.select(names).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            wanted = batch.filter(self._wanted.slice(read, batch.height))
            read += batch.height
            if wanted.height:
                yield wanted


def batches(rows: Rows, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of rows, a bounded number of rows at a time."""
    return rows.batches(names) if isinstance(rows, StoredRows) else rows.select(names).iter_slices(BATCH_ROWS)


def rows_at(rows: Rows, names: Sequence[str], places: Sequence[int]) -> pl.DataFrame:
    """Some columns of the rows at some places, in that order; of a table in the lake the others are not kept."""
    wanted, order = np.unique(np.asarray(places, np.int64), return_inverse=True)
    found, read = [pl.DataFrame(schema={name: rows.schema[name] for name in names})], 0
    for batch in batches(rows, names):
        here = wanted[np.searchsorted(wanted, read) : np.searchsorted(wanted, read + batch.height)]
        found.append(batch[here - read])
        read += batch.height
    return pl.concat(found)[order]


def every_nth(table: pl.LazyFrame, n: int) -> pl.DataFrame:
    """Every n-th row, from the first.

    Filtered and not gathered: `gather_every` of a lazy frame reads all of it into memory (polars 2.1).
    """
    return table.with_row_index(_ROW).filter(pl.col(_ROW) % max(n, 1) == 0).drop(_ROW).collect(engine="streaming")


def split_table(table: pl.LazyFrame, split: Split, *, time: str, known_at: str | None) -> dict[str, StoredRows]:
    """The parts of a table in the lake; the columns alone that the split looks at are read.

    DataError when a part is empty.
    """
    looked_at = dict.fromkeys((time, *([known_at] if known_at else []), *split.columns))
    rows = table.select(name for name in looked_at if name in table.collect_schema()).collect()
    parts = split.split(rows.with_row_index(_ROW), time=time, known_at=known_at)
    return {name: StoredRows(table, _mask(parts[name][_ROW], rows.height)) for name in PARTS}


def _mask(places: pl.Series, rows: int) -> pl.Series:
    found = np.zeros(rows, bool)
    found[places.to_numpy()] = True
    return pl.Series(found)
