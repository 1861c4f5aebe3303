"""Partial dependence (Friedman, 2001): the mean answer when a feature has one value in every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from carrara.evaluation.weighing import Floats

Predict = Callable[[pl.DataFrame], Any]
"""Rows of features to answers, of shape (rows,), or (rows, classes)."""

_MOST, _TAIL = 20, 0.05


def grid(values: pl.Series, most: int = _MOST) -> list[Any]:
    """The values at which a dependence is drawn: all of a column that has few, else evenly from its 5th to its 95th
    percentile, as scikit-learn does; of texts the most frequent.

    >>> grid(pl.Series([3, 1, 1, 2]))
    [1, 2, 3]
    """
    known = values.drop_nulls()
    if known.dtype.is_float():
        known = known.filter(known.is_finite())
    distinct = known.unique()
    if distinct.len() < most:
        return list(distinct.sort().to_list())
    if not known.dtype.is_numeric():
        common = known.value_counts(sort=True).head(most)
        return sorted(common[common.columns[0]].to_list())
    numbers = np.sort(known.to_numpy().astype(np.float64))
    steps = np.linspace(_quantile(numbers, _TAIL), _quantile(numbers, 1 - _TAIL), most)
    return list(np.unique(steps.round() if known.dtype.is_integer() else steps).tolist())


def partial_dependence(predict: Predict, rows: pl.DataFrame, name: str, values: Sequence[Any]) -> Floats:
    """The mean answer at each value, of shape (values,), or (values, classes)."""
    asked = pl.concat([_with(rows, {name: value}) for value in values])
    return _means(predict(asked), len(values))


def two_way_dependence(
    predict: Predict, rows: pl.DataFrame, names: tuple[str, str], values: Sequence[Sequence[Any]]
) -> Floats:
    """The mean answer at each pair of values, of shape (values of one, values of the other)."""
    one, other = names
    asked = pl.concat([_with(rows, {one: a, other: b}) for a in values[0] for b in values[1]])
    return _means(predict(asked), len(values[0]) * len(values[1])).reshape(len(values[0]), len(values[1]))


def _with(rows: pl.DataFrame, values: dict[str, Any]) -> pl.DataFrame:
    return rows.with_columns(pl.lit(value).cast(rows.schema[name]).alias(name) for name, value in values.items())


def _means(answers: Any, groups: int) -> Floats:
    found = np.asarray(answers, np.float64)
    return np.asarray(found.reshape(groups, -1, *found.shape[1:]).mean(axis=1))


def _quantile(ordered: Floats, share: float) -> float:
    """The quantile that scikit-learn's grid has: scipy.stats.mquantiles with its plotting positions (0.4, 0.4)."""
    place = len(ordered) * share + 0.4 + 0.2 * share
    below = int(np.clip(np.floor(place), 1, len(ordered) - 1))
    part = float(np.clip(place - below, 0, 1))
    return float((1 - part) * ordered[below - 1] + part * ordered[below])
