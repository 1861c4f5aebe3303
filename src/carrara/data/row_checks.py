"""What single rows are held against: ranges, categories, patterns, presence, rules of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from carrara.core.columns import type_name
from carrara.core.errors import ConfigurationError, did_you_mean
from carrara.core.row_sql import row_expression
from carrara.data.schema import Bound, ColumnSchema, Schema, Severity

_EXAMPLES = 5


@dataclass(frozen=True)
class RowCheck:
    """A condition under which a row is guilty of an anomaly of `kind`; `column` is a rule's name for a rule.

    `suspect` is a cheap aggregate which is false only where no row is guilty, so that clean batches cost little.
    """

    column: str
    kind: str
    guilty: pl.Expr
    suspect: pl.Expr | None = None


@dataclass
class Found:
    """How many rows were guilty, and some of them: `examples` are values, `places` their row numbers from 0."""

    rows: int = 0
    examples: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


@dataclass
class RowFindings:
    """Counts, over the batches of a table, the rows that each check of a schema finds guilty."""

    schema: Schema
    found: dict[tuple[str, str], Found] = field(default_factory=dict)
    rows: int = 0
    _hashes: dict[tuple[str, ...], list[pl.Series]] = field(default_factory=dict)

    def add(self, batch: pl.DataFrame) -> None:
        """Check the rows of a batch."""
        checks = list(row_checks(self.schema, batch.schema))
        counts = guilty_counts(batch, checks)
        for check, rows in zip(checks, counts, strict=True):
            found = self.found.setdefault((check.column, check.kind), Found())
            found.rows += rows
            if rows and len(found.places) < _EXAMPLES:
                self._show(found, check, batch)
        for key in unique_keys(self.schema):
            if all(name in batch.columns for name in key):
                # Hashes of 64 bits in place of the values: 8 bytes a row, and a false alarm once in a million tables.
                self._hashes.setdefault(key, []).append(batch.select(key).hash_rows())
        self.rows += batch.height

    def repeats(self) -> dict[tuple[str, ...], Found]:
        """The rows whose key was there before them, for each key that must be unique."""
        return {key: _repeated(pl.concat(parts).to_numpy()) for key, parts in self._hashes.items()}

    def _show(self, found: Found, check: RowCheck, batch: pl.DataFrame) -> None:
        shown = batch.with_row_index("_place").filter(check.guilty).head(_EXAMPLES - len(found.places))
        found.places += [self.rows + place for place in shown["_place"]]
        if check.column in batch.columns and check.kind != "presence":
            found.examples += [plain(value) for value in shown[check.column]]


def row_checks(schema: Schema, columns: pl.Schema) -> Iterator[RowCheck]:
    """The checks of a schema that a table of these columns can be held against; other types are another anomaly."""
    for name, column in schema.columns.items():
        if name in columns and type_name(columns[name]) == column.type:
            yield from _column_checks(name, column, columns[name])
    for rule in schema.rules:
        try:
            yield RowCheck(rule.name, "rule", ~row_expression(rule.sql).fill_null(True))
        except PolarsError as error:
            raise ConfigurationError(f"rule '{rule.name}' of the schema is not SQL: {error}") from None


def unique_keys(schema: Schema) -> list[tuple[str, ...]]:
    """The columns, alone or together, that must be unique."""
    alone = [(name,) for name, column in schema.columns.items() if column.unique]
    return [*alone, *([schema.key] if schema.key and schema.key not in alone else [])]


def guilty_counts(batch: pl.DataFrame, checks: Sequence[RowCheck]) -> list[int]:
    """How many rows of a batch each check finds guilty."""
    counts = [0] * len(checks)
    if not checks or not batch.height:
        return counts
    try:
        screened = {place: check.suspect for place, check in enumerate(checks) if check.suspect is not None}
        suspects = batch.select(**{str(place): suspect for place, suspect in screened.items()}).row(0)
        clear = {place for place, suspect in zip(screened, suspects, strict=True) if suspect is False}
        counted = {str(place): check.guilty.sum() for place, check in enumerate(checks) if place not in clear}
        for place, rows in batch.select(**counted).to_dicts()[0].items() if counted else ():
            counts[int(place)] = int(rows or 0)
    except PolarsError as error:
        raise _broken_rule(batch, checks, error) from None
    return counts


def guilty_of(schema: Schema, columns: pl.Schema, severity: Severity) -> pl.Expr | None:
    """Which rows are guilty of something of this severity, as one condition; None when nothing has it."""
    guilty = [c.guilty for c in row_checks(schema, columns) if _severity(schema, c) == severity]
    return pl.any_horizontal([condition.fill_null(False) for condition in guilty]) if guilty else None


def guilty_rows(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Rows with the reason why each is guilty in `_anomalies`: "dep_delay: out of range; carrier: new categories"."""
    said = [
        pl.when(check.guilty).then(pl.lit(f"{check.column}: {check.kind}")) for check in row_checks(schema, rows.schema)
    ]
    return rows.with_columns(pl.concat_str(said, separator="; ", ignore_nulls=True).alias("_anomalies"))


def _severity(schema: Schema, check: RowCheck) -> str:
    declared = {rule.name: rule.severity for rule in schema.rules}
    if check.kind == "rule" and declared[check.column]:
        return declared[check.column]
    return schema.severity_of(check.kind, check.column)


def _column_checks(name: str, column: ColumnSchema, dtype: pl.DataType) -> Iterator[RowCheck]:
    values = pl.col(name)
    if column.min_present > 0:
        yield RowCheck(name, "presence", values.is_null(), values.null_count() > 0)
    if dtype.is_float() and column.finite:
        # One that is not finite makes the sum so; a sum past 1e308 is looked at.
        yield RowCheck(name, "not finite", ~values.is_finite(), ~values.sum().is_finite())
    bounds, suspects = [], []
    if column.min is not None:
        low = pl.lit(_bound(column.min, dtype))
        bounds, suspects = [values < low], [values.min() < low]
    if column.max is not None:
        high = pl.lit(_bound(column.max, dtype))
        bounds, suspects = [*bounds, values > high], [*suspects, values.max() > high]
    if bounds:
        outside = pl.any_horizontal(bounds)
        # Polars sorts NaN above everything; infinities and NaN are an anomaly of their own.
        guilty = outside & values.is_finite() if dtype.is_float() else outside
        yield RowCheck(name, "out of range", guilty, pl.any_horizontal(suspects))
    if column.categories is not None:
        texts = values if dtype == pl.String else values.cast(pl.String)
        yield RowCheck(name, "new categories", ~texts.is_in(list(column.categories)))
    if column.pattern is not None and dtype == pl.String:
        yield RowCheck(name, "out of domain", ~values.str.contains(f"^(?:{column.pattern})$"))
    if isinstance(dtype, pl.List) and (column.min_values is not None or column.max_values is not None):
        least, most = column.min_values or 0, column.max_values
        short = values.list.len() < least
        yield RowCheck(name, "valency", short if most is None else short | (values.list.len() > most))


def _bound(bound: Bound, dtype: pl.DataType) -> Any:
    if not isinstance(bound, str):
        return bound
    found = datetime.fromisoformat(bound)
    return found.date() if dtype == pl.Date else found


def _broken_rule(batch: pl.DataFrame, checks: Sequence[RowCheck], error: PolarsError) -> ConfigurationError:
    for check in checks:
        try:
            batch.head(0).select(check.guilty)
        except PolarsError as own:
            hint = did_you_mean(str(own).partition('"')[2].partition('"')[0], batch.columns)
            return ConfigurationError(f"the check '{check.column}' of the schema cannot be made: {own}", hint=hint)
    return ConfigurationError(f"a check of the schema cannot be made: {error}")


def _repeated(hashes: np.ndarray[Any, Any]) -> Found:
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    places = np.sort(order[1:][ordered[1:] == ordered[:-1]])
    return Found(int(places.size), [], places[:_EXAMPLES].tolist())


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    return value.isoformat() if isinstance(value, datetime | date) else value
