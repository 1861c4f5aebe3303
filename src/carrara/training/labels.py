"""Labels as trainers and metrics take them."""

from __future__ import annotations

import numpy as np
import polars as pl

from carrara.core.columns import require_column, type_name
from carrara.core.errors import ColumnTypeMismatch, TrainingError
from carrara.data.rows import Rows
from carrara.training.model import Label
from carrara.training.trainers.base import Array


def classes_of(label: Label, rows: Rows, where: str) -> tuple[str, ...]:
    """The classes of a label of several, or the several labels, as texts in their order; empty for other kinds."""
    if label.kind == "multilabel":
        return _labels_of(label, rows, where)
    if label.kind != "multiclass":
        return ()
    assert isinstance(label.column, str)
    dtype = require_column(rows.schema, label.column, where)
    if not (dtype == pl.String or dtype.is_integer() or dtype == pl.Boolean):
        raise ColumnTypeMismatch(label.column, where, "classes (string, int64 or bool)", type_name(dtype))
    values = rows[label.column].drop_nulls().unique().sort().to_list()
    if len(values) < 2:
        said = f"{where} has only the class {', '.join(map(str, values)) or '(none)'}"
        raise TrainingError(said, hint="A model learns from differences; move the split's times.")
    return tuple(map(str, values))


def encoded(label: Label, rows: Rows, classes: tuple[str, ...], where: str) -> Array:
    """The labels of rows: 0 and 1, places among `classes`, or numbers, as float64 of shape (rows,); of several labels
    0 and 1, of shape (rows, classes).

    Raises ColumnTypeMismatch for a column of another type, TrainingError for labels that are missing, infinite,
    negative where they are relevances, or of a class that the train part does not have.
    """
    if not label.column:
        return np.zeros(rows.height)
    if label.kind == "multilabel":
        return _several(label, rows, classes, where)
    assert isinstance(label.column, str)
    dtype = require_column(rows.schema, label.column, where)
    values = rows[label.column]
    if values.null_count():
        raise TrainingError(f"{values.null_count():,} labels in '{label.column}' of {where} are null")
    if label.kind == "binary":
        if dtype != pl.Boolean():
            raise ColumnTypeMismatch(
                label.column, where, "bool", type_name(dtype), hint='Label(…, kind="regression") learns a number.'
            )
        return values.cast(pl.Float64).to_numpy()
    if label.kind in ("regression", "ranking"):
        if not dtype.is_numeric():
            raise ColumnTypeMismatch(label.column, where, "a number", type_name(dtype))
        numbers = values.cast(pl.Float64).to_numpy()
        if wrong := int((~np.isfinite(numbers)).sum()):
            raise TrainingError(f"{wrong:,} labels in '{label.column}' of {where} are NaN or infinite")
        if label.kind == "ranking" and (wrong := int((numbers < 0).sum())):
            raise TrainingError(f"{wrong:,} relevances in '{label.column}' of {where} are negative")
        return numbers
    places = values.cast(pl.String).replace_strict(list(classes), list(range(len(classes))), default=None)
    if places.null_count():
        raise _unseen(values.filter(places.is_null()), where)
    return places.cast(pl.Float64).to_numpy()


def queries(label: Label, rows: Rows, where: str) -> Array | None:
    """The query of each row of a ranking, as int64 of shape (rows,), None of another kind.

    Raises TrainingError where a row names none, or where no query has two items.
    """
    if label.group is None:
        return None
    require_column(rows.schema, label.group, where)
    names = rows[label.group]
    if names.null_count():
        raise TrainingError(f"{names.null_count():,} rows of {where} name no query in '{label.group}'")
    codes = names.rank("dense").cast(pl.Int64).to_numpy()
    if len(codes) and np.bincount(codes).max() < 2:
        raise TrainingError(
            f"every query in '{label.group}' of {where} has one row, which is no order",
            hint="Its items are the rows of the label's dataset with the same value there.",
        )
    return codes


def _labels_of(label: Label, rows: Rows, where: str) -> tuple[str, ...]:
    if not isinstance(label.column, str):
        return label.column
    _check_lists(label.column, rows, where)
    found = rows[label.column].explode().drop_nulls().unique().sort().to_list()
    if not found:
        raise TrainingError(f"no row of {where} has a label in '{label.column}'")
    return tuple(found)


def _several(label: Label, rows: Rows, classes: tuple[str, ...], where: str) -> Array:
    if not isinstance(label.column, str):
        return np.column_stack([encoded(Label(label.dataset, one, label.time), rows, (), where) for one in classes])
    _check_lists(label.column, rows, where)
    lists = rows[label.column]
    if lists.null_count():
        raise TrainingError(
            f"{lists.null_count():,} rows of {where} have no list in '{label.column}'",
            hint="A row without a label has an empty list.",
        )
    named = pl.DataFrame({"row": np.arange(rows.height), "label": lists}).explode("label").drop_nulls("label")
    places = named["label"].replace_strict(list(classes), list(range(len(classes))), default=None)
    if places.null_count():
        raise _unseen(named["label"].filter(places.is_null()), where)
    found = np.zeros((rows.height, len(classes)))
    found[named["row"].to_numpy(), places.to_numpy()] = 1
    return found


def _check_lists(column: str, rows: Rows, where: str) -> None:
    dtype = require_column(rows.schema, column, where)
    if not (isinstance(dtype, pl.List) and dtype.inner == pl.String):
        raise ColumnTypeMismatch(
            column, where, "lists of texts", type_name(dtype), hint="Or name several columns of booleans: column=(…, …)"
        )


def _unseen(values: pl.Series, where: str) -> TrainingError:
    names = values.unique().sort().cast(pl.String).to_list()
    return TrainingError(
        f"{where} has classes that the train part does not have: {', '.join(names[:5])}",
        hint="Move the split's times, or drop these rows in the dataset's function.",
    )
