"""Queries of feature views, in the dialect of the local engine: DuckDB."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from carrara.core.errors import DataError
from carrara.core.plugins import require


def query(sql: str, tables: Mapping[str, pl.LazyFrame], where: str) -> pl.DataFrame:
    """The rows of a query over these tables; DataError says what DuckDB does not like of it.

    >>> query("SELECT sum(seats) AS seats FROM planes", {"planes": pl.LazyFrame({"seats": [2, 3]})}, "here").item()
    5
    """
    duckdb = require("duckdb", extra="duckdb", purpose=where)
    from arro3.core import RecordBatchReader

    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET TimeZone = 'UTC'; SET autoinstall_known_extensions = false")
        for name, rows in tables.items():
            connection.register(name, rows.collect())
        found = pl.DataFrame(RecordBatchReader.from_arrow(connection.sql(sql)).read_all())
        # DuckDB sums whole numbers in 128 bits, and has decimals, which no feature is.
        return found.cast({name: _plain(dtype) for name, dtype in found.schema.items()})
    except duckdb.Error as error:
        raise DataError(f"the SQL of {where} failed: {error}", hint="Correct its query.") from None
    finally:
        connection.close()


def _plain(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Decimal):
        return pl.Float64() if dtype.scale else pl.Int64()
    return pl.Int64() if dtype == pl.Int128 else dtype
