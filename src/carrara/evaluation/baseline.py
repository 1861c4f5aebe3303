"""The baseline that a model must beat: the smoothed mean label of each combination of a few columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import ColumnMissing, DataError
from carrara.evaluation.ranked import as_floats
from carrara.evaluation.weighing import Floats

SMOOTHING = 20.0
"""Rows of the global rate that are mixed into each combination, so that a rare one is not believed alone."""

_RATE = "__positive_rate"


@dataclass(frozen=True)
class RateBaseline:
    """Mean labels by combination of `columns` (of a binary label positive rates); a combination never seen gets
    `global_rate`."""

    columns: tuple[str, ...]
    rates: pl.DataFrame
    global_rate: float

    @classmethod
    def fit(cls, columns: Mapping[str, npt.NDArray[Any]], labels: npt.ArrayLike) -> RateBaseline:
        """Learn from `columns` (each of shape (rows,), no columns: the global rate) and `labels` (0/1, or numbers).

        >>> baseline = RateBaseline.fit({"carrier": np.array(["AA", "AA", "UA", "UA"])}, [1, 1, 0, 0])
        >>> baseline.score({"carrier": np.array(["AA", "never seen"])}).round(3).tolist()
        [0.545, 0.5]
        """
        truth, _ = as_floats(labels, np.zeros(len(np.asarray(labels))))
        if wrong := int((~np.isfinite(truth)).sum()):
            raise DataError(f"{wrong:,} of {len(truth):,} labels are missing or infinite")
        overall = float(truth.mean())
        if not columns:
            return cls((), pl.DataFrame(), overall)
        frame = _frame(columns, len(truth)).with_columns(pl.Series(_RATE, truth.astype(np.float64)))
        smoothed = (pl.col(_RATE).sum() + SMOOTHING * overall) / (pl.len() + SMOOTHING)
        return cls(tuple(columns), frame.group_by(list(columns), maintain_order=True).agg(smoothed), overall)

    def score(self, columns: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """Scores of shape (rows,), float64; raises ColumnMissing for a column that `fit` had."""
        for name in self.columns:
            if name not in columns:
                raise ColumnMissing(name, "the baseline's input", columns)
        rows = len(next(iter(columns.values()))) if columns else 0
        if not self.columns:
            return np.full(rows, self.global_rate)
        known = {name: self.rates.schema[name] for name in self.columns}
        frame = _frame({name: columns[name] for name in self.columns}, rows).cast(pl.Schema(known), strict=False)
        joined = frame.join(self.rates, on=list(self.columns), how="left", nulls_equal=True, maintain_order="left")
        return joined[_RATE].fill_null(self.global_rate).to_numpy()


def _frame(columns: Mapping[str, npt.NDArray[Any]], rows: int) -> pl.DataFrame:
    for name, values in columns.items():
        if len(values) != rows:
            raise DataError(f"column '{name}' of the baseline has {len(values):,} rows, and {rows:,} are expected")
    return pl.DataFrame({name: pl.Series(values, strict=False, nan_to_null=True) for name, values in columns.items()})
