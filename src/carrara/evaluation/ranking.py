"""Metrics of a ranking: what each query's order is worth, and the mean over the queries.

A query is what is resampled and what has a weight: its rows are asked together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import as_floats, as_weights
from carrara.evaluation.weighing import Floats, Ints, mean, ratio


@dataclass(frozen=True)
class QueryRows:
    """Items by query, and by falling score within it: `labels` are how relevant an item is (0 and more), `scores`
    what orders them, float64 of shape (items,); a query's items are from `starts[q]` to `starts[q + 1]`."""

    labels: Floats
    scores: Floats
    starts: Ints
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, places: Ints) -> QueryRows:
        items = np.concatenate([np.arange(self.starts[p], self.starts[p + 1]) for p in places])
        sizes = (self.starts[1:] - self.starts[:-1])[places]
        starts = np.append(0, np.cumsum(sizes))
        weights = None if self.weights is None else self.weights[places]
        return QueryRows(self.labels[items], self.scores[items], starts, weights)

    @cached_property
    def query(self) -> Ints:
        """The query of each item."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def place(self) -> Ints:
        """The place of each item in its query's order, from 0."""
        return np.arange(len(self.labels)) - self.starts[:-1][self.query]

    @cached_property
    def tied(self) -> Ints:
        """The group of items of equal score of one query that each item is in."""
        new = np.append(True, (np.diff(self.scores) != 0) | (np.diff(self.query) != 0))
        return np.cumsum(new) - 1


def query_rows(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    groups: npt.ArrayLike,
    threshold: float = 0.5,
    weights: npt.ArrayLike | None = None,
) -> QueryRows:
    """Items in the order that they are read; `groups` names each one's query, and a query's weight is that of its
    first item. Raises DataError with counts when they cannot be measured."""
    truth, values = as_floats(labels, scores)
    if wrong := int((~(np.isfinite(truth) & (truth >= 0))).sum()):
        raise DataError(f"{wrong:,} of {len(truth):,} relevances are negative, missing or infinite")
    if wrong := int((~np.isfinite(values)).sum()):
        raise DataError(f"{wrong:,} of {len(values):,} scores are missing or infinite")
    named = np.asarray(groups)
    if named.shape != truth.shape:
        raise DataError(f"there are {len(truth):,} items and {len(named):,} names of queries")
    _, codes = np.unique(named, return_inverse=True)
    order = np.lexsort((-values, codes))
    starts = np.append(np.flatnonzero(np.diff(codes[order], prepend=-1)), len(order))
    heavy = as_weights(weights, len(truth))
    return QueryRows(truth[order], values[order], starts, None if heavy is None else heavy[order][starts[:-1]])


def ndcg(rows: QueryRows, weights: Floats, k: int | None = None) -> Any:
    """Discounted gain over the best possible one, of the first `k` (`ndcg@10`) or all; ties share their places.

    A query without a relevant item counts 0, as in scikit-learn.
    """
    return mean(_ndcg(rows, k), weights)


def average_precision(rows: QueryRows, weights: Floats, k: int | None = None) -> Any:
    """MAP: the mean over the relevant items of the precision down to each, of the first `k` or all; tied items are
    read together. Queries without a relevant item are left out."""
    values = _average_precision(rows, k)
    there = ~np.isnan(values)
    return mean(values[there], weights[..., there])


def precision(rows: QueryRows, weights: Floats, k: int = 10) -> Any:
    """The share of the first `k` places that hold a relevant item."""
    return mean(_hits(rows, k) / k, weights)


def recall(rows: QueryRows, weights: Floats, k: int = 10) -> Any:
    """The share of a query's relevant items that are among its first `k`; queries without one are left out."""
    relevant = np.bincount(rows.query, weights=rows.labels > 0, minlength=len(rows))
    there = relevant > 0
    return mean(_hits(rows, k)[there] / relevant[there], weights[..., there])


def hit_rate(rows: QueryRows, weights: Floats, k: int = 10) -> Any:
    """The share of the queries with a relevant item among the first `k`."""
    return mean((_hits(rows, k) > 0).astype(np.float64), weights)


def _hits(rows: QueryRows, k: int) -> Floats:
    found = np.bincount(rows.query, weights=(rows.labels > 0) & (rows.place < k), minlength=len(rows))
    return np.asarray(found, np.float64)


def reciprocal_rank(rows: QueryRows, weights: Floats) -> Any:
    """MRR: one over the place of the first relevant item, 0 where there is none."""
    first = np.full(len(rows), np.inf)
    hits = np.flatnonzero(rows.labels > 0)
    np.minimum.at(first, rows.query[hits], rows.place[hits] + 1.0)
    return mean(1 / first, weights)


def _ndcg(rows: QueryRows, k: int | None) -> Floats:
    discount = 1 / np.log2(rows.place + 2.0)
    if k is not None:
        discount = np.where(rows.place < k, discount, 0.0)
    sizes = np.bincount(rows.tied)
    # McSherry and Najork (2008): the expected gain over the orders of tied items.
    gain = np.bincount(rows.tied, weights=rows.labels) / sizes
    found = np.bincount(rows.query, weights=gain[rows.tied] * discount, minlength=len(rows))
    best = rows.labels[np.lexsort((-rows.labels, rows.query))]
    ideal = np.bincount(rows.query, weights=best * discount, minlength=len(rows))
    return np.divide(found, ideal, out=np.zeros_like(found), where=ideal > 0)


def _average_precision(rows: QueryRows, k: int | None) -> Floats:
    relevant = (rows.labels > 0).astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(rows.tied)), len(rows.labels) - 1)[rows.tied]
    total = np.cumsum(relevant)
    before = np.append(0.0, total)[rows.starts[:-1]][rows.query]
    precision = (total[last] - before) / (rows.place[last] + 1.0)
    counted = relevant if k is None else np.where(rows.place < k, relevant, 0.0)
    found = np.bincount(rows.query, weights=counted * precision, minlength=len(rows))
    hits = np.bincount(rows.query, weights=relevant, minlength=len(rows))
    most = hits if k is None else np.minimum(hits, k)
    return np.asarray(ratio(found, most))
