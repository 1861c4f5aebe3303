"""Statistics of a table's columns: counts, ranges, quantiles, histograms, top values."""

from __future__ import annotations

from typing import Any

import polars as pl

from carrara.core.columns import type_name

DECILES = [q / 10 for q in range(11)]
_BINS = 20
_TOP = 10


def column_statistics(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """What each column holds, as plain data.

    Every column has `type`, `rows`, `nulls`, `distinct`; numbers have `mean`, `std`, `min`, `max`, `zeros`,
    `quantiles` (eleven, at every tenth) and `histogram` (`edges`, `counts`); strings and booleans have
    `top`; times have `min` and `max`. NaN and infinities count as nulls in the numbers' moments.

    >>> column_statistics(pl.DataFrame({"delay": [1, 2, None]}))["delay"]["nulls"]
    1
    """
    return {name: {**_common(frame[name]), **_by_type(frame[name])} for name in frame.columns}


def _common(values: pl.Series) -> dict[str, Any]:
    return {
        "type": type_name(values.dtype),
        "rows": len(values),
        "nulls": values.null_count(),
        "distinct": values.n_unique(),
    }


def _by_type(values: pl.Series) -> dict[str, Any]:
    if values.dtype == pl.Boolean or values.dtype == pl.String:
        return {"top": _top(values)}
    if values.dtype.is_temporal():
        low, high = values.min(), values.max()
        return {"min": str(low) if low is not None else None, "max": str(high) if high is not None else None}
    if values.dtype.is_numeric():
        return _numbers(values.drop_nulls().cast(pl.Float64).filter(values.drop_nulls().cast(pl.Float64).is_finite()))
    return {}


def _top(values: pl.Series) -> list[dict[str, Any]]:
    counts = values.drop_nulls().value_counts(sort=True).head(_TOP)
    return [{"value": value, "rows": rows} for value, rows in zip(counts[values.name], counts["count"], strict=True)]


def _numbers(values: pl.Series) -> dict[str, Any]:
    if values.is_empty():
        return {
            "mean": None,
            "std": None,
            "min": None,
            "max": None,
            "zeros": 0,
            "quantiles": [],
            "histogram": None,
        }
    quantiles = [values.quantile(q, "linear") for q in DECILES]
    return {
        "mean": values.mean(),
        "std": values.std(ddof=0),
        "min": values.min(),
        "max": values.max(),
        "zeros": int((values == 0).sum()),
        "quantiles": quantiles,
        "histogram": _histogram(values),
    }


def _histogram(values: pl.Series) -> dict[str, Any]:
    import numpy as np

    counts, edges = np.histogram(values.to_numpy(), bins=_BINS)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
