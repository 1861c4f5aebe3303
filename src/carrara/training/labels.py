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
    """The classes of a label of several, as texts in their order; empty for other kinds."""
    if label.kind != "multiclass":
        return ()
    dtype = require_column(rows.schema, label.column, where)
    if not (dtype == pl.String or dtype.is_integer() or dtype == pl.Boolean):
        raise ColumnTypeMismatch(label.column, where, "classes (string, int64 or bool)", type_name(dtype))
    values = rows[label.column].drop_nulls().unique().sort().to_list()
    if len(values) < 2:
        said = f"{where} has only the class {', '.join(map(str, values)) or '(none)'}"
        raise TrainingError(said, hint="A model learns from differences; move the split's times.")
    return tuple(map(str, values))


def encoded(label: Label, rows: Rows, classes: tuple[str, ...], where: str) -> Array:
    """The labels of rows: 0 and 1, places among `classes`, or numbers, as float64 of shape (rows,).

    Raises ColumnTypeMismatch for a column of another type, TrainingError for labels that are missing, infinite, or
    of a class that the train part does not have.
    """
    if not label.column:
        return np.zeros(rows.height)
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
    if label.kind == "regression":
        if not dtype.is_numeric():
            raise ColumnTypeMismatch(label.column, where, "a number", type_name(dtype))
        numbers = values.cast(pl.Float64).to_numpy()
        if wrong := int((~np.isfinite(numbers)).sum()):
            raise TrainingError(f"{wrong:,} labels in '{label.column}' of {where} are NaN or infinite")
        return numbers
    places = values.cast(pl.String).replace_strict(list(classes), list(range(len(classes))), default=None)
    if places.null_count():
        unseen = values.filter(places.is_null()).unique().sort().cast(pl.String).to_list()
        raise TrainingError(
            f"{where} has classes that the train part does not have: {', '.join(unseen[:5])}",
            hint="Move the split's times, or drop these rows in the dataset's function.",
        )
    return places.cast(pl.Float64).to_numpy()
