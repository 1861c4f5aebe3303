"""The types of columns, by the names that definitions, records and wires use."""

from __future__ import annotations

from typing import Any

import polars as pl

from carrara.core.errors import ColumnMissing, ColumnTypeMismatch, TimeWithoutZone

ZONE = r"(Z|z|[+-]\d{2}:?\d{2})$"

UTC_TIME = pl.Datetime("us", "UTC")

POLARS_TYPES: dict[str, pl.DataType] = {
    "int64": pl.Int64(),
    "int32": pl.Int32(),
    "float64": pl.Float64(),
    "float32": pl.Float32(),
    "string": pl.String(),
    "bool": pl.Boolean(),
    "datetime": UTC_TIME,
    "date": pl.Date(),
}


def type_name(dtype: pl.DataType) -> str:
    """The name of a Polars type in definitions and records.

    >>> type_name(pl.Int64()), type_name(pl.Datetime("ns", "UTC")), type_name(pl.List(pl.Int8))
    ('int64', 'datetime', 'list(int8)')
    """
    if isinstance(dtype, pl.Datetime):
        return "datetime" if dtype.time_zone else "datetime without zone"
    for name, known in POLARS_TYPES.items():
        if dtype == known:
            return name
    return str(dtype).lower()


def require_column(schema: pl.Schema, column: str, where: str) -> pl.DataType:
    """The type of a column; ColumnMissing names the nearest one."""
    if column not in schema:
        raise ColumnMissing(column, where, schema.names())
    return schema[column]


def require_time(schema: pl.Schema, column: str, where: str) -> None:
    """Raise unless `column` holds times with a zone."""
    dtype = require_column(schema, column, where)
    if not isinstance(dtype, pl.Datetime):
        raise ColumnTypeMismatch(column, where, "datetime", type_name(dtype))
    if dtype.time_zone is None:
        raise TimeWithoutZone(column, where)


def utc_times(values: pl.Series, where: str) -> pl.Series:
    """A column of times, or of RFC 3339 texts, as UTC microseconds; TimeWithoutZone names the column.

    >>> utc_times(pl.Series("at", ["2013-10-01T06:00:00-04:00"]), "flights")[0].hour
    10
    """
    if values.dtype == pl.String:
        if not values.drop_nulls().str.contains(ZONE).all():
            raise TimeWithoutZone(values.name, where)
        return values.str.to_datetime(time_unit="us", time_zone="UTC")
    if not isinstance(values.dtype, pl.Datetime):
        raise ColumnTypeMismatch(values.name, where, "datetime", type_name(values.dtype))
    if values.dtype.time_zone is None:
        raise TimeWithoutZone(values.name, where)
    return values.cast(UTC_TIME)


def require_number(schema: pl.Schema, column: str, where: str) -> None:
    """Raise unless `column` holds numbers or booleans."""
    dtype = require_column(schema, column, where)
    if not (dtype.is_numeric() or dtype == pl.Boolean()):
        raise ColumnTypeMismatch(column, where, "a number", type_name(dtype))


def as_numpy(values: pl.Series) -> Any:
    """A column as on-demand functions take it: float64 with NaN, datetime64[us], or objects."""
    if values.dtype == pl.String:
        return values.to_numpy().astype(object)
    if values.dtype.is_temporal():
        return values.cast(UTC_TIME).dt.replace_time_zone(None).to_numpy()
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
