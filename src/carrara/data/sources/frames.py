"""A dataframe that was handed in: Polars, pandas, Arrow, DuckDB, or anything that streams Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from carrara.core.errors import DataError
from carrara.core.plugins import require
from carrara.data.sources.base import Opened, Reading
from carrara.data.statistics import batches_of


@dataclass(frozen=True)
class Frame:
    """The rows of a dataframe, a mapping of columns, or an object with the Arrow C stream interface."""

    frame: Any

    def describe(self) -> dict[str, Any]:
        return {"kind": "dataframe", "type": f"{type(self.frame).__module__.partition('.')[0]}"}

    def fingerprint(self, root: Path) -> str | None:
        return None

    @contextmanager
    def open(self, root: Path, reading: Reading) -> Iterator[Opened]:
        schema, batches = _batches(self.frame, reading.dataset)
        rows = len(self.frame) if hasattr(self.frame, "__len__") and not isinstance(self.frame, Mapping) else None
        yield Opened(schema, batches, rows, where=f"the dataframe for dataset '{reading.dataset}'")


def _batches(frame: Any, dataset: str) -> tuple[pl.Schema, Iterator[pl.DataFrame]]:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect_schema(), batches_of(frame)
    if isinstance(frame, Mapping):
        frame = pl.DataFrame(frame)
    if isinstance(frame, pl.DataFrame):
        return frame.schema, batches_of(frame)
    native: Any
    try:
        native = nw.from_native(frame)
    except TypeError:
        native = None
    if isinstance(native, nw.DataFrame):
        if native.implementation.is_pandas_like():
            require("pyarrow", extra="pandas", purpose="a pandas dataframe")
        made = native.to_polars()
        return made.schema, batches_of(made)
    if not hasattr(frame, "__arrow_c_stream__"):
        raise DataError(
            f"dataset '{dataset}' cannot be made from {type(frame).__name__}",
            hint="Hand in a Polars, pandas or Arrow table, or an object that streams Arrow.",
        )
    from arro3.core import RecordBatchReader

    rows = RecordBatchReader.from_arrow(frame)
    return pl.DataFrame(rows.schema.empty_table()).schema, (pl.DataFrame(batch) for batch in rows)
