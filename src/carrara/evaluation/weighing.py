"""What metrics of every kind share: sums over rows by weights, of one resample or of many at once.

Weights are float64 of shape (rows,), or (resamples, rows): each function works on the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def ratio(part: Any, whole: Any) -> Any:
    """part / whole, NaN where the whole is not above 0.

    >>> float(ratio(1.0, 4.0)), float(ratio(1.0, 0.0))
    (0.25, nan)
    """
    parts, wholes = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(parts, wholes, out=np.full(wholes.shape, np.nan), where=wholes > 0)[()]


def mean(values: Floats, weights: Floats) -> Any:
    """The weighted mean of a value per row."""
    return ratio(weights @ values, weights.sum(axis=-1))


def dot(one: Floats, other: Floats) -> Any:
    """The sum of products over the last axis."""
    return np.einsum("...i,...i->...", one, other)


def sums_by(codes: npt.NDArray[Any], weights: Floats, size: int) -> Floats:
    """The weight of each code 0 … size - 1, of shape (size,) or (resamples, size)."""
    if weights.ndim == 1:
        return np.asarray(np.bincount(codes, weights=weights, minlength=size), np.float64)
    return np.array([np.bincount(codes, weights=one, minlength=size) for one in weights])


def mean_where_defined(values: Floats) -> Any:
    """The mean over the last axis of what is not NaN, NaN where nothing is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1))
