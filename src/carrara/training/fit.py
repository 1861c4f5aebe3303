"""Fits a model's trainer on the parts of its training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import require_column, type_name
from carrara.core.errors import ColumnTypeMismatch, TrainingError
from carrara.models.signature import Signature, TensorSpec
from carrara.training.model import Model
from carrara.training.trainers.base import Array, Fitted, Part


@dataclass(frozen=True)
class FittedModel:
    """What the trainer gave back, and the signature of the model's own inputs: one tensor per feature."""

    fitted: Fitted
    signature: Signature


def fit_model(
    model: Model, features: tuple[str, ...], parts: Mapping[str, pl.DataFrame], advance: Callable[[int, int], None]
) -> FittedModel:
    """Fit on the train part and stop by the validation part; TrainingError names what cannot be learned."""
    made = {name: _part(model, features, parts[name], name) for name in ("train", "validation")}
    fitted = model.trainer.fit(made["train"], made["validation"], features, seed=model.seed, advance=advance)
    signature = Signature(
        inputs=tuple(TensorSpec(name, "float32") for name in features), outputs=(TensorSpec("probability", "float32"),)
    )
    return FittedModel(fitted, signature)


def matrix(features: tuple[str, ...], rows: pl.DataFrame) -> Array:
    """The features of `rows` as float32 of shape (rows, features), NaN for missing."""
    where = "the training set"
    for name in features:
        dtype = require_column(rows.schema, name, where)
        if not (dtype.is_numeric() or dtype == pl.Boolean()):
            raise ColumnTypeMismatch(
                name, where, "a number", type_name(dtype), hint="Encode it in its view's function."
            )
    columns = rows.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in features)
    return np.ascontiguousarray(columns.to_numpy(), dtype=np.float32)


def labels_of(model: Model, rows: pl.DataFrame, where: str) -> Array:
    """The labels as int8 of 0 and 1; the column must be boolean and without nulls."""
    column = model.label.column
    dtype = require_column(rows.schema, column, where)
    if dtype != pl.Boolean():
        raise ColumnTypeMismatch(column, where, "bool", type_name(dtype))
    if rows[column].null_count():
        raise TrainingError(f"{rows[column].null_count():,} labels in '{column}' of {where} are null")
    return rows[column].cast(pl.Int8).to_numpy()


def _part(model: Model, features: tuple[str, ...], rows: pl.DataFrame, name: str) -> Part:
    where = f"the {name} part of '{model.name}'"
    labels = labels_of(model, rows, where)
    if labels.min() == labels.max():
        raise TrainingError(
            f"every label in {where} is {bool(labels[0])}", hint="A model learns from both; move the split's times."
        )
    return Part(matrix(features, rows), labels.astype(np.float32))


def describe(fitted: Fitted) -> dict[str, Any]:
    """What is worth keeping of a fit besides its files, as plain data."""
    return {
        "format": fitted.format,
        "importance": dict(fitted.importance),
        "curve": dict(fitted.curve),
        "summary": dict(fitted.summary),
        "export": dict(fitted.export),
    }
