"""The lake: Delta tables in one folder. A write is one atomic commit; every version can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from carrara.core.errors import ConfigurationError, NotFoundError, StorageError


class Lake:
    """Tables by name (`datasets/flights`) below one folder."""

    def __init__(self, address: str) -> None:
        if "://" in address:
            raise ConfigurationError(
                f"the lake cannot be at '{address}'",
                hint='This release keeps it in a local folder: lake = "PATH".',
            )
        self._root = Path(address)

    def write(self, table: str, data: pl.DataFrame, *, mode: Literal["overwrite", "append"] = "overwrite") -> int:
        """Commit `data` as the next version of `table` and return its number.

        Overwriting takes the new columns; appending adds missing ones. Raises StorageError.
        """
        from deltalake import DeltaTable, write_deltalake
        from deltalake.exceptions import DeltaError

        path = self._root / table
        path.mkdir(parents=True, exist_ok=True)
        try:
            write_deltalake(str(path), data, mode=mode, schema_mode="overwrite" if mode == "overwrite" else "merge")
            return int(DeltaTable(str(path)).version())
        except (DeltaError, OSError) as error:
            raise StorageError(f"table '{table}' of the lake could not be written: {error}") from error

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """A version of `table`, or the newest, as a lazy frame."""
        if not self.exists(table):
            raise NotFoundError("table", table, hint="It was not written yet, or the lake is another one.")
        return pl.scan_delta(str(self._root / table), version=version)

    def exists(self, table: str) -> bool:
        return (self._root / table / "_delta_log").is_dir()
