"""The definitions of a model of one table: written from what its columns are, for a person to go on from."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from carrara.core.columns import ZONE, require_column, utc_times
from carrara.core.errors import ColumnTypeMismatch, DataError, NotFoundError

_TREES = ('carrara.OneHot("*"),', "")
_NETS = ('carrara.OneHot("*"), carrara.Impute(indicator=True), carrara.Standardise()',) * 2
TRAINERS = {
    "xgboost": ("carrara.XGBoost()", *_TREES),
    "lightgbm": ("carrara.LightGBM()", *_TREES),
    "linear": ("carrara.Linear()", *_NETS),
    "keras": ("carrara.Keras()", *_NETS),
    "torch": ("carrara.Torch()", *_NETS),
}
"""Each trainer's declaration, and the transforms that it wants with texts and without."""

_MOST_CLASSES, _MOST_WHOLE_CLASSES, _MOST_TEXTS = 100, 20, 0.5


@dataclass(frozen=True)
class Table:
    """A file's rows, the column that is to be predicted, and the one that says when, if there is one."""

    address: str
    rows: pl.DataFrame
    label: str
    time: str | None = None

    def __post_init__(self) -> None:
        for column in (self.label, *([self.time] if self.time else [])):
            require_column(self.rows.schema, column, self.address)
        if self.rows[self.label].n_unique() - self.rows[self.label].has_nulls() < 2:
            raise DataError(f"'{self.label}' has one value in {self.address}", hint="There is nothing to predict.")


def definitions_of(table: Table, trainer: str) -> str:
    """The text of a `definitions.py` that trains a model of the table.

    Raises NotFoundError for a trainer that is none, DataError for a label that no model can be made of, and
    ColumnTypeMismatch for a time that is none.
    """
    if trainer not in TRAINERS:
        raise NotFoundError("trainer", trainer, TRAINERS)
    fields, left_out = _fields(table)
    if not fields:
        raise DataError(f"{table.address} has no column to predict '{table.label}' by", hint="; ".join(left_out))
    declared, with_texts, without = TRAINERS[trainer]
    transforms = with_texts if "string" in fields.values() else without
    dataset, label = identifier(Path(table.address).name.partition(".")[0]), identifier(table.label)
    names = [identifier(column) for column in fields]
    kind, truth = _label(table)
    at, split = _time(table, kind, names)
    renamed = {column: identifier(column) for column in (*fields, table.label) if column != identifier(column)}
    made = f"{label}={truth}, " if truth != _column(label) else ""
    types = f', types={{{_text(table.time)}: "datetime"}}' if table.time and _has_zones(table.rows[table.time]) else ""
    parts = [
        f'"""Predict {label}, by the other columns of {Path(table.address).name}."""\n',
        *([] if table.time else ["from datetime import UTC, datetime\n"]),
        "import narwhals as nw\n",
        "import carrara\n",
        f"{dataset} = carrara.Dataset({_text(dataset)}, source={_text(table.address)}{types})\n",
        _block("FIELDS", {identifier(column): kind for column, kind in fields.items()}, "what a request tells"),
        *(f"# Left out: {said}.\n" for said in left_out),
        *([_block("NAMES", renamed, "what they are in the file")] if renamed else []),
        "\n",
        f"@carrara.dataset(inputs=({_text(dataset)},))",
        f"def examples({dataset}):",
        '    """The rows whose label is known."""',
        f"    rows = {dataset}{'.rename(NAMES)' if renamed else ''}.drop_nulls({_text(label)})",
        f"    return rows.with_columns({made}at={at})",
        "\n",
        "@carrara.on_demand_view(request=FIELDS, features=FIELDS)",
        f"def fields({', '.join(names)}):",
        '    """The columns as they are; what is computed of them goes here too."""',
        "    return {",
        *(f"        {_text(name)}: {name}," for name in names),
        "    }",
        "\n",
        f"{label}_model = carrara.Model(",
        f"    {_text(label)},",
        '    features=("fields",),',
        f'    label=carrara.Label(dataset="examples", column={_text(label)}, time="at", kind="{kind}"),',
        f"    split={split},",
        f"    trainer={declared},",
        *([f"    transforms=({transforms}),"] if transforms else []),
        ")\n",
    ]
    return "\n".join(parts)


def _block(name: str, entries: Mapping[str, str], why: str) -> str:
    lines = [f"    {_text(key)}: {_text(value)}," for key, value in entries.items()]
    return "\n".join([f"{name} = {{  # {why}", *lines, "}"])


def _column(name: str) -> str:
    return f"nw.col({_text(name)})"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def identifier(column: str) -> str:
    """A column's name as one of Python's.

    >>> identifier("sepal length (cm)"), identifier("2nd"), identifier("class")
    ('sepal_length_cm', 'x2nd', 'class_')
    """
    name = re.sub(r"\W+", "_", column).strip("_") or "x"
    name = name if not name[0].isdigit() else f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in ("at", "rows", "fields") else name


def _fields(table: Table) -> tuple[dict[str, str], list[str]]:
    """The type of each column that tells something, and what is said of the others."""
    fields, left_out = {}, []
    for column in table.rows.columns:
        values = table.rows[column]
        known = values.len() - values.null_count()
        if column in (table.label, table.time):
            continue
        if values.dtype == pl.Boolean:
            fields[column] = "bool"
        elif values.dtype.is_numeric() and known:
            fields[column] = "float64"
        elif values.dtype == pl.String and known and values.n_unique() <= max(2, _MOST_TEXTS * known):
            fields[column] = "string"
        elif values.dtype == pl.String and known:
            left_out.append(f"{column}, {values.n_unique():,} different texts in {values.len():,} rows")
        else:
            left_out.append(f"{column}, " + (f"of the type {values.dtype}" if known else "without a value"))
    taken: dict[str, str] = {identifier(table.label): table.label}
    for column in fields:
        if (other := taken.setdefault(identifier(column), column)) != column:
            raise DataError(f"'{other}' and '{column}' would have one name", hint="Rename one of them in the file.")
    return fields, left_out


def _label(table: Table) -> tuple[str, str]:
    """The kind of the label, and the expression that makes it."""
    values, name = table.rows[table.label].drop_nulls(), identifier(table.label)
    found, column = values.n_unique(), _column(name)
    if values.dtype == pl.Boolean:
        return "binary", column
    if found == 2 and (values.dtype == pl.String or values.dtype.is_integer()):
        return "binary", f"{column} == {_text(values.max())}"
    if values.dtype == pl.String and found > _MOST_CLASSES:
        raise DataError(
            f"'{table.label}' has {found:,} different texts in {values.len():,} rows",
            hint="A model tells at most a few classes apart, or predicts a number.",
        )
    if values.dtype == pl.String or (values.dtype.is_integer() and found <= _MOST_WHOLE_CLASSES):
        return "multiclass", column
    if values.dtype.is_numeric():
        return "regression", column
    raise ColumnTypeMismatch(table.label, table.address, "a boolean, a text or a number", str(values.dtype))


def _time(table: Table, kind: str, names: Iterable[str]) -> tuple[str, str]:
    """The expression of when each row is predicted, and the split."""
    if table.time is None:
        key = f"key=({', '.join(map(_text, names))},)"
        by = f"by={_text(identifier(table.label))}, "
        split = f"carrara.HashSplit({key})" if kind == "regression" else f"carrara.StratifiedSplit({by}{key})"
        return "nw.lit(datetime(2000, 1, 1, tzinfo=UTC))", split
    column, values = _column(table.time), table.rows[table.time]
    times = _times(values, table.address).drop_nulls().sort()
    if not _has_zones(values):
        # As the clocks of UTC show them.
        parsed = ".str.to_datetime()" if values.dtype == pl.String else '.cast(nw.Datetime("us"))'
        column = f'{column}{parsed}.dt.replace_time_zone("UTC")'
    cuts = [f"{times[int(times.len() * share)]:%Y-%m-%dT%H:%M:%SZ}" for share in (0.7, 0.85)]
    return column, f'carrara.TimeSplit(validation_from="{cuts[0]}", test_from="{cuts[1]}")'


def _has_zones(values: pl.Series) -> bool:
    if values.dtype == pl.String:
        return bool(values.drop_nulls().head(1).str.contains(ZONE).all())
    return isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None


def _times(values: pl.Series, where: str) -> pl.Series:
    try:
        if values.dtype == pl.String and _has_zones(values):
            return utc_times(values, where).cast(pl.Datetime("us"))
        found = values.str.to_datetime() if values.dtype == pl.String else values
        if found.dtype in (pl.Date, pl.Datetime):
            return found.cast(pl.Datetime("us"))
    except pl.exceptions.PolarsError:
        pass
    raise ColumnTypeMismatch(values.name, where, "a time", f"such as {values.drop_nulls()[0]!r}")
