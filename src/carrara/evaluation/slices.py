"""Metrics by slice: every value of a column, so that a weak group is not hidden by a good average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import DataError
from carrara.evaluation.metrics import DEFAULT_METRICS, Kind, MetricValue, measure
from carrara.evaluation.ranked import Floats, Ints

OTHER = "(other)"
MISSING = "(missing)"


@dataclass(frozen=True)
class SliceResult:
    """The metrics of the rows where `column` is `value` (as text; "(other)" pools what is too small)."""

    column: str
    value: str
    rows: int
    metrics: Mapping[str, MetricValue]

    def as_dict(self) -> dict[str, Any]:
        metrics = {name: value.as_dict() for name, value in self.metrics.items()}
        return {"column": self.column, "value": self.value, "rows": self.rows, "metrics": metrics}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SliceResult:
        metrics = {name: MetricValue.from_dict(value) for name, value in data["metrics"].items()}
        return cls(data["column"], data["value"], int(data["rows"]), metrics)


def measure_slices(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    columns: Mapping[str, npt.NDArray[Any]],
    names: Iterable[str] = DEFAULT_METRICS,
    *,
    kind: Kind = "binary",
    min_rows: int = 200,
    bootstrap: int = 100,
    seed: int = 0,
    threshold: float = 0.5,
) -> list[SliceResult]:
    """Every value of every column, column by column, the largest slice first and "(other)" last.

    Columns have shape (rows,): strings, integers and booleans are sliced by value, floats by quartile.
    Missing values are a slice of their own; slices of fewer than `min_rows` rows are pooled.
    """
    truth, values, wanted = np.asarray(labels), np.asarray(scores), list(names)
    found = []
    for column, cells in columns.items():
        if len(cells) != len(truth):
            raise DataError(f"slice column '{column}' has {len(cells):,} rows, and there are {len(truth):,} labels")
        for value, rows in _groups(cells, min_rows):
            metrics = measure(
                truth[rows], values[rows], wanted, kind=kind, bootstrap=bootstrap, seed=seed, threshold=threshold
            )
            found.append(SliceResult(column, value, len(rows), metrics))
    return found


def _groups(cells: npt.NDArray[Any], min_rows: int) -> list[tuple[str, Ints]]:
    """(value, row numbers) of each slice."""
    texts = _quartiles(cells.astype(np.float64)) if cells.dtype.kind == "f" else _texts(cells)
    frame = pl.DataFrame({"value": texts.fill_null(MISSING)}).with_row_index("row")
    groups = frame.group_by("value").agg("row", rows=pl.len()).sort(["rows", "value"], descending=[True, False])
    large = groups.filter(pl.col("rows") >= min_rows)
    found = [
        (value, rows.to_numpy().astype(np.int64)) for value, rows in zip(large["value"], large["row"], strict=True)
    ]
    if large.height < groups.height:
        pooled = groups.filter(pl.col("rows") < min_rows)["row"].explode().sort()
        found.append((OTHER, pooled.to_numpy().astype(np.int64)))
    return found


def _texts(cells: npt.NDArray[Any]) -> pl.Series:
    return pl.Series(cells, strict=False, nan_to_null=True).cast(pl.String)


def _quartiles(cells: Floats) -> pl.Series:
    """The quartile of each value as text, e.g. "[2.5, 7)"; null where it is NaN."""
    known = cells[~np.isnan(cells)]
    if not known.size:
        return pl.Series([None] * len(cells), dtype=pl.String)
    edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75)))
    texts = [f"< {edges[0]:.4g}"]
    texts += [f"[{low:.4g}, {high:.4g})" for low, high in pairwise(edges)]
    texts.append(f"≥ {edges[-1]:.4g}")
    # A cut of [a, b) puts equal values on one side, so a column with many ties may have fewer than four slices.
    bins = np.where(np.isnan(cells), len(texts), np.searchsorted(edges, cells, side="right"))
    return pl.Series([*texts, None], dtype=pl.String).gather(bins)
