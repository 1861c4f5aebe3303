"""Distances between two distributions, given as counts in the same bins or as sketches.

All functions are pure. A distribution without rows has no distance: it raises DataError and is never reported as
0, which would read as "healthy".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.data.sketches.quantiles import QuantileSketch

Floats = npt.NDArray[np.float64]

LEAST_SHARE = 1e-4
"""What an empty bin counts as in the PSI, whose logarithm has no value at 0."""

MEASURES = ("jensen_shannon", "kolmogorov_smirnov", "l_infinity", "psi")
"""The names of the distances in schemas and anomalies."""

_ONE_IN_A_THOUSAND = 1.95


def psi(expected_counts: npt.ArrayLike, actual_counts: npt.ArrayLike) -> float:
    """Population stability index, Σ (a-e)·ln(a/e) over shares, in nats; shares below 1e-4 count as 1e-4.

    0 for equal shares; by custom 0.1 is worth a look and 0.25 a large change. Raises DataError for no rows.
    """
    expected, actual = (np.maximum(share, LEAST_SHARE) for share in shares(expected_counts, actual_counts))
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def jensen_shannon(expected_counts: npt.ArrayLike, actual_counts: npt.ArrayLike) -> float:
    """Jensen-Shannon divergence to base 2, from 0 to 1 (the square of the distance). DataError for no rows.

    >>> jensen_shannon([10, 0], [0, 3])
    1.0
    """
    expected, actual = shares(expected_counts, actual_counts)
    middle = (expected + actual) / 2
    found = (_divergence(expected, middle) + _divergence(actual, middle)) / 2
    return min(max(found, 0.0), 1.0)


def l_infinity(expected_counts: npt.ArrayLike, actual_counts: npt.ArrayLike) -> float:
    """The largest difference of a bin's shares, from 0 to 1. Raises DataError for no rows."""
    expected, actual = shares(expected_counts, actual_counts)
    return float(np.max(np.abs(expected - actual)))


def kolmogorov_smirnov(expected: QuantileSketch, actual: QuantileSketch) -> float:
    """The largest difference of two cumulative distributions, from 0 to 1. Raises DataError for no rows.

    >>> one, other = QuantileSketch(), QuantileSketch()
    >>> one.add(np.array([1.0, 2.0])); other.add(np.array([2.0, 3.0]))
    >>> kolmogorov_smirnov(one, other)
    0.5
    """
    if not (expected.total and actual.total):
        raise DataError("a distribution without rows cannot be compared")
    edges = np.unique(np.concatenate([np.nextafter(sketch.bounds()[1], np.inf) for sketch in (expected, actual)]))
    return float(np.max(np.abs(expected.below(edges) / expected.total - actual.below(edges) / actual.total)))


def noise(measure: str, bins: int, expected_rows: float, actual_rows: float) -> float:
    """What a distance reaches by chance between samples of one distribution, about once in a thousand times.

    For Kolmogorov-Smirnov by its asymptotic distribution; PSI and Jensen-Shannon are chi-squared in the limit.
    """
    spread = 1 / expected_rows + 1 / actual_rows
    if measure in ("kolmogorov_smirnov", "l_infinity"):
        return float(_ONE_IN_A_THOUSAND * np.sqrt(spread))
    degrees = max(bins - 1, 1)
    chi_squared = degrees + 3.1 * np.sqrt(2 * degrees) + 3.1
    return float(chi_squared * spread / (1 if measure == "psi" else 8 * np.log(2)))


def shares(expected_counts: npt.ArrayLike, actual_counts: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Two counts over the same bins as shares of their rows, shape (bins,). Raises DataError for no rows."""
    expected, actual = np.asarray(expected_counts, np.float64), np.asarray(actual_counts, np.float64)
    if expected.shape != actual.shape:
        raise DataError(f"distributions of {expected.size} and {actual.size} bins cannot be compared")
    if expected.sum() <= 0 or actual.sum() <= 0:
        raise DataError("a window or a reference without rows has no distribution to compare")
    return expected / expected.sum(), actual / actual.sum()


def _divergence(part: Floats, middle: Floats) -> float:
    some = part > 0
    return float(np.sum(part[some] * np.log2(part[some] / middle[some])))
