"""What rows are judged by beside the whole: columns, crosses of them, and SQL expressions under names of their own.

An expression is in the SQL of a schema's rules, over times in UTC, and says something of each row by itself: what it
comes to are the slices, of a condition true, false, and missing where it is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import ColumnNotFoundError, PolarsError

from carrara.core.errors import ColumnMissing, DefinitionError
from carrara.core.row_sql import holds_query
from carrara.data.rows import Rows, batches

Sliced = str | tuple[str, ...] | Mapping[str, str]
"""A column, a cross of several, or SQL by name."""


@dataclass(frozen=True)
class Slicing:
    """`names` are columns and `expressions`, `crosses` are of them, `expressions` are SQL by name.

    Raises DefinitionError for an expression that is no SQL, or none of a row by itself.

    >>> Slicing.of(["carrier", {"long": "distance > 2000"}]).reads
    ('carrier', 'distance')
    """

    names: tuple[str, ...] = ()
    crosses: tuple[tuple[str, ...], ...] = ()
    expressions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, sql in self.expressions.items():
            expression(name, sql)

    @classmethod
    def of(cls, slices: Sequence[Sliced], also: Sequence[str] = ()) -> Slicing:
        """What a definition says, and columns that are looked at anyway."""
        expressions: dict[str, str] = {}
        named: list[str] = []
        for one in slices:
            if isinstance(one, Mapping):
                _check_names(one, expressions)
                expressions |= one
            named += (one,) if isinstance(one, str) else one
        crosses = tuple(one for one in slices if isinstance(one, tuple))
        return cls(tuple(dict.fromkeys((*named, *also))), crosses, expressions)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that rows must have."""
        return tuple(dict.fromkeys(column for name in self.names for column in self.columns_of(name)))

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The columns behind a name: of an expression those that it reads."""
        sql = self.expressions.get(name)
        return (name,) if sql is None else tuple(dict.fromkeys(expression(name, sql).meta.root_names()))

    def within(self, columns: Sequence[str]) -> Slicing:
        """As much of it as these columns are enough for."""
        names = tuple(name for name in self.names if set(self.columns_of(name)) <= set(columns))
        crosses = tuple(cross for cross in self.crosses if set(cross) <= set(names))
        return Slicing(names, crosses, {name: sql for name, sql in self.expressions.items() if name in names})

    def __or__(self, other: Slicing) -> Slicing:
        """Both; of a name that both have, this one's."""
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        crosses = tuple(dict.fromkeys((*self.crosses, *other.crosses)))
        theirs = {name: sql for name, sql in other.expressions.items() if name not in self.names}
        return Slicing(names, crosses, {**theirs, **self.expressions})

    def cells(self, rows: Rows) -> SlicedColumns:
        """What the rows have under each name."""
        return SlicedColumns(self, rows)

    def check(self, schema: pl.Schema, where: str) -> None:
        """Raise for an expression that rows of such columns have no value of: ColumnMissing, DefinitionError."""
        for name, sql in self.expressions.items():
            if name in schema:
                raise DefinitionError(
                    f"the slice '{name}' of {where} is SQL, and a column is called that", hint="Call it another name."
                )
            for column in self.columns_of(name):
                if column not in schema:
                    raise ColumnMissing(column, f"the slice '{name}' ({sql}) of {where}", schema.names())
            try:
                _bare_times(pl.LazyFrame(schema=schema)).select(expression(name, sql)).collect_schema()
            except PolarsError as error:
                raise DefinitionError(f"the slice '{name}' of {where} is {sql}: {_first_line(error)}") from None


@dataclass(frozen=True)
class SlicedColumns(Mapping[str, pl.Series]):
    """The columns and expressions of rows by name, each read when it is asked for, and not kept."""

    slicing: Slicing
    rows: Rows

    def __getitem__(self, name: str) -> pl.Series:
        if name not in self.slicing.names:
            raise KeyError(name)
        sql = self.slicing.expressions.get(name)
        if sql is None:
            return self.rows[name]
        asked = expression(name, sql).alias(name)
        read = batches(self.rows, self.slicing.columns_of(name))
        return pl.concat([_bare_times(one.lazy()).select(asked).collect() for one in read])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.slicing.names)

    def __len__(self) -> int:
        return len(self.slicing.names)


def expression(name: str, sql: str) -> pl.Expr:
    """An expression over the columns of a row; DefinitionError where it is none.

    >>> expression("long", "distance > 2000").meta.root_names()
    ['distance']
    """
    of_its_row = not holds_query(sql)
    try:
        found = pl.sql_expr(sql) if of_its_row else pl.lit(None)
    except PolarsError as error:
        hint = "A feature is quoted: '\"view:feature\" > 1'." if ":" in sql and '"' not in sql else ""
        raise DefinitionError(f"the slice '{name}' is no SQL ({sql}): {_first_line(error)}", hint=hint) from None
    if not (of_its_row and all(_looks_at_its_row(part) for part in _parts(found))):
        raise DefinitionError(
            f"the slice '{name}' looks at more than its row ({sql})",
            hint="An aggregate or a window is another one on other rows: compute it in a feature view.",
        )
    if not found.meta.root_names():
        raise DefinitionError(f"the slice '{name}' reads no column ({sql})", hint="distance > 2000, for example.")
    return found


def _bare_times(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with their times, which are UTC, without saying so: SQL's literals name no zone."""
    zoned = [name for name, dtype in rows.collect_schema().items() if isinstance(dtype, pl.Datetime)]
    return rows.with_columns(pl.col(zoned).dt.convert_time_zone("UTC").dt.replace_time_zone(None)) if zoned else rows


def _check_names(one: Mapping[str, str], others: Mapping[str, str]) -> None:
    for name, sql in one.items():
        if not (isinstance(name, str) and isinstance(sql, str) and name and sql):
            raise DefinitionError(f"a slice is {name!r}: {sql!r}", hint='{"long_haul": "distance > 2000"}')
        if name in others:
            raise DefinitionError(f"two slices are called '{name}'")


def _parts(found: pl.Expr) -> Iterator[pl.Expr]:
    left = [found]
    while left:
        yield (one := left.pop())
        left += one.meta.pop()


def _looks_at_its_row(part: pl.Expr) -> bool:
    if not part.meta.root_names():
        return str(part) != str(pl.len())  # a constant, or the number of rows
    return not _told(part.meta.is_scalar) and _told(part.meta.is_row_separable) is not False


def _told(question: Callable[[], bool]) -> bool | None:
    """None where Polars (2.1) cannot tell without the columns' types; the parts of the expression are asked as well."""
    try:
        return question()
    except ColumnNotFoundError:
        return None


def _first_line(error: PolarsError) -> str:
    return str(error).partition("\n")[0]
