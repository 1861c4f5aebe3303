"""A DuckDB query, over a database file or over files that it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from carrara.core.errors import DataError
from carrara.core.plugins import require
from carrara.data.sources.base import Opened, Reading


@dataclass(frozen=True)
class DuckDB:
    """The rows of `query`; `database` is a file below the workspace, opened to read only, or none.

    Files that the query names are looked for from the workspace's folder on: `select * from 'orders/*.parquet'`.

    >>> DuckDB("select 1 as one").describe()
    {'kind': 'duckdb', 'query': 'select 1 as one', 'database': ''}
    """

    query: str
    database: str = ""

    def describe(self) -> dict[str, Any]:
        return {"kind": "duckdb", "query": self.query, "database": self.database}

    def fingerprint(self, root: Path) -> str | None:
        return None

    @contextmanager
    def open(self, root: Path, reading: Reading) -> Iterator[Opened]:
        duckdb = require("duckdb", extra="duckdb", purpose=f"dataset '{reading.dataset}'")
        from arro3.core import RecordBatchReader

        where = f"the query of dataset '{reading.dataset}'"
        path = str(root / self.database) if self.database else ":memory:"
        if self.database and not Path(path).is_file():
            raise DataError(f"there is no DuckDB database at {path}")
        connection = duckdb.connect(path, read_only=bool(self.database))
        try:
            quoted = str(root).replace("'", "''")
            connection.execute(f"SET TimeZone = 'UTC'; SET file_search_path = '{quoted}'")
            rows = RecordBatchReader.from_arrow(connection.sql(self.query))
            schema = pl.DataFrame(rows.schema.empty_table()).schema
            yield Opened(schema, (pl.DataFrame(batch) for batch in rows), where=where)
        except duckdb.Error as error:
            raise DataError(f"{where} failed: {error}", hint="Correct its query.") from None
        finally:
            connection.close()
