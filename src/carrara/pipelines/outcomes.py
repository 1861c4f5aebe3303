"""Outcomes as people have them: a file, a dataset, a dataframe, or rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
from polars.exceptions import PolarsError

from carrara.core.errors import DataError, NotFoundError
from carrara.data.versions import read_dataset
from carrara.storage.stores import Stores


def read_outcomes(stores: Stores, rows: Any) -> tuple[pl.DataFrame, str]:
    """The rows, and what to call them in an error."""
    if isinstance(rows, str | Path):
        return _named(stores, str(rows))
    if isinstance(rows, pl.DataFrame):
        return rows, "the outcomes"
    if isinstance(rows, list | dict):
        return pl.DataFrame(rows, infer_schema_length=None), "the outcomes"
    frame: pl.DataFrame = nw.from_native(rows, eager_only=True).to_polars()
    return frame, "the outcomes"


def _named(stores: Stores, name: str) -> tuple[pl.DataFrame, str]:
    path = Path(name)
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False), name
        if path.suffix == ".csv":
            return pl.read_csv(path, infer_schema_length=None, glob=False), name
        if path.suffix in (".jsonl", ".ndjson"):
            return pl.read_ndjson(path, infer_schema_length=None), name
    except (PolarsError, OSError) as error:
        raise DataError(f"{name} cannot be read: {error}", hint="Give a CSV, Parquet or JSON lines file.") from error
    try:
        return read_dataset(stores, name).collect(), f"dataset '{name}'"
    except NotFoundError as error:
        if path.suffix:
            raise DataError(f"{name} is no file of outcomes", hint="Give .csv, .parquet or .jsonl.") from error
        raise
