"""Metrics of clusters, without labels: each one function of the rows' distances to every centre, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import as_weights
from carrara.evaluation.weighing import Floats, Ints, mean, ratio, sums_by


@dataclass(frozen=True)
class ClusteredRows:
    """`distances` of each row to every centre, float64 of shape (rows, clusters)."""

    distances: Floats
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.distances)

    def take(self, places: Ints) -> ClusteredRows:
        return ClusteredRows(self.distances[places], None if self.weights is None else self.weights[places])

    @cached_property
    def clusters(self) -> Ints:
        """The nearest centre of each row, the first of equals."""
        return np.asarray(self.distances.argmin(axis=1))

    @cached_property
    def nearest(self) -> Floats:
        """The distances to the nearest and to the second nearest centre, of shape (rows, 2)."""
        return np.sort(np.partition(self.distances, 1, axis=1)[:, :2], axis=1)


def clustered_rows(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> ClusteredRows:
    """Check distances; there are no labels, and those that are given play no part. Raises DataError with counts."""
    distances = np.asarray(scores, np.float64)
    if distances.ndim != 2 or distances.shape[1] < 2:
        raise DataError(f"distances have a column for each of two clusters or more, and have shape {distances.shape}")
    if not len(distances):
        raise DataError("there are no rows to measure")
    if wrong := int((~np.isfinite(distances) | (distances < 0)).any(axis=1).sum()):
        raise DataError(f"{wrong:,} of {len(distances):,} rows have a distance that is missing, infinite or below 0")
    return ClusteredRows(distances, as_weights(weights, len(distances)))


def silhouette(rows: ClusteredRows, weights: Floats) -> Any:
    """The mean simplified silhouette (Hruschka and others, 2004), 0 to 1: how much nearer the own centre is than the
    next."""
    own, next_ = rows.nearest.T
    return mean(np.divide(next_ - own, next_, out=np.zeros(len(rows)), where=next_ > 0), weights)


def inertia(rows: ClusteredRows, weights: Floats) -> Any:
    """The mean squared distance to the nearest centre."""
    return mean(rows.nearest[:, 0] ** 2, weights)


def mean_distance(rows: ClusteredRows, weights: Floats) -> Any:
    """The mean distance to the nearest centre."""
    return mean(rows.nearest[:, 0], weights)


def largest_share(rows: ClusteredRows, weights: Floats) -> Any:
    """The share of the rows that are in the largest cluster."""
    return ratio(_sizes(rows, weights).max(axis=-1), weights.sum(axis=-1))


def smallest_share(rows: ClusteredRows, weights: Floats) -> Any:
    """The share of the rows that are in the smallest cluster."""
    return ratio(_sizes(rows, weights).min(axis=-1), weights.sum(axis=-1))


def _sizes(rows: ClusteredRows, weights: Floats) -> Floats:
    return sums_by(rows.clusters, weights, rows.distances.shape[1])
