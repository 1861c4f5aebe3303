"""Batches as the lake holds them: declared types, UTC microseconds, and only types that Delta and Parquet share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl
from polars.exceptions import PolarsError

from carrara.core.columns import UTC_TIME, require_column, type_name, utc_times
from carrara.core.errors import ColumnTypeMismatch, DataError

_WIDER: dict[type[pl.DataType], pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Int64(),
}


def storable_schema(schema: pl.Schema, types: Mapping[str, pl.DataType], where: str) -> pl.Schema:
    """The columns as `storable` makes them; ColumnMissing and DataError name what cannot be stored."""
    for column in types:
        require_column(schema, column, where)
    return pl.Schema({name: types.get(name) or _stored(name, dtype, where) for name, dtype in schema.items()})


def storable(
    batch: pl.DataFrame,
    schema: pl.Schema,
    types: Mapping[str, pl.DataType],
    where: str,
    place: Callable[[int], str] | None = None,
) -> pl.DataFrame:
    """A batch in the types of `schema`; an error shows the first value that has no place there, and its `place`."""
    # One look at the types: a frame builds them anew each time that it is asked.
    types_now = batch.schema
    changed = [
        _cast(batch[name], dtype, where, name in types, place)
        for name, dtype in schema.items()
        if types_now[name] != dtype
    ]
    return batch.with_columns(changed).select(schema.names())


def _stored(name: str, dtype: pl.DataType, where: str) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return UTC_TIME if dtype.time_zone else pl.Datetime("us")
    if isinstance(dtype, pl.Null | pl.Categorical | pl.Enum | pl.Time):
        return pl.String()
    if isinstance(dtype, pl.Duration):
        return pl.Int64()
    if isinstance(dtype, pl.List):
        return pl.List(_stored(name, dtype.inner, where))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Int128 | pl.UInt128 | pl.Object):
        raise DataError(
            f"column '{name}' of {where} is {type_name(dtype)}, which no table can hold",
            hint=f'Declare a type: types={{"{name}": "string"}}.',
        )
    return _WIDER.get(type(dtype), dtype)


def _cast(
    values: pl.Series, dtype: pl.DataType, where: str, declared: bool, place: Callable[[int], str] | None
) -> pl.Series:
    try:
        if declared and dtype == UTC_TIME:
            return utc_times(values, where)
        if isinstance(values.dtype, pl.Duration):
            values = values.dt.cast_time_unit("us")
        return values.str.to_date() if _is_date_text(values, dtype) else values.cast(dtype)
    except PolarsError as error:
        raise _misfit(values, dtype, where, error, place) from error


def _misfit(
    values: pl.Series, dtype: pl.DataType, where: str, error: PolarsError, place: Callable[[int], str] | None
) -> ColumnTypeMismatch:
    if dtype == UTC_TIME:
        fitting = values.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    elif _is_date_text(values, dtype):
        fitting = values.str.to_date(strict=False)
    else:
        fitting = values.cast(dtype, strict=False)
    lost = (fitting.is_null() & values.is_not_null()).arg_true()
    if not len(lost):
        said = str(error).splitlines()[0]
    else:
        said = f"{values[lost[0]]!r} is no {type_name(dtype)}" + (f" ({place(lost[0])})" if place is not None else "")
    return ColumnTypeMismatch(values.name, where, type_name(dtype), type_name(values.dtype), hint=f"{said}.")


def _is_date_text(values: pl.Series, dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Date) and values.dtype == pl.String
