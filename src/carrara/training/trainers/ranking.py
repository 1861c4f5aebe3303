"""Parts of a ranking as trainers of orders take them: the items of a query one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carrara.training.trainers.base import Array, Part


@dataclass(frozen=True)
class Queries:
    """A part by query: `sizes`, int64 of shape (queries,), is how many items each has; its rows are in that order."""

    part: Part
    sizes: Array

    @property
    def weights(self) -> Array | None:
        """How much each query counts, as its first item says."""
        return None if self.part.weights is None else self.part.weights[np.cumsum(self.sizes) - self.sizes]


def by_query(part: Part) -> Queries:
    """A copy of the part in the order of its queries; items of one keep their order.

    >>> part = Part(np.zeros((3, 1), np.float32), np.array([1, 2, 3]), None, np.array([7, 5, 7]))
    >>> by_query(part).part.labels.tolist(), by_query(part).sizes.tolist()
    ([2, 1, 3], [1, 2])
    """
    assert part.groups is not None
    order = np.argsort(part.groups, kind="stable")
    groups = part.groups[order]
    weights = None if part.weights is None else part.weights[order]
    sizes = np.unique(groups, return_counts=True)[1]
    return Queries(Part(part.features[order], part.labels[order], weights, groups), sizes)
