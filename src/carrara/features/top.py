"""The most frequent values of many ranges of one column."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MOST_GATHERED = 4_000_000
"""How many values are in memory at once, beside the column."""


def top_values(values: Array, starts: Array, ends: Array, k: int) -> Array:
    """The k most frequent values of each range [start, end), shape (ranges, k); NaN is no value, and pads.

    Of values that are equally frequent the one that came last is first. The time goes by the sum of the ranges.

    >>> values = np.array([1.0, 2.0, 1.0, 3.0, np.nan])
    >>> top_values(values, np.array([0, 1]), np.array([5, 2]), 2).tolist()
    [[1.0, 3.0], [2.0, nan]]
    """
    found = np.full((len(starts), k), np.nan)
    for some in split(ends - starts):
        rows, places = gathered(starts[some], ends[some])
        present = ~np.isnan(values[places])
        _fill(found[some], rows[present], places[present], values[places[present]], k)
    return found


def gathered(starts: Array, ends: Array) -> tuple[Array, Array]:
    """Every place of every range, and the number of its range."""
    lengths = ends - starts
    rows = np.repeat(np.arange(len(starts)), lengths)
    return rows, np.arange(len(rows)) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)


def split(lengths: Array) -> Iterator[slice]:
    """Runs of ranges whose lengths together fit into memory with ease."""
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // _MOST_GATHERED)) + 1
    edges = [0, *cuts.tolist(), len(lengths)]
    yield from (slice(low, high) for low, high in pairwise(edges) if high > low)


def _fill(found: Array, rows: Array, places: Array, values: Array, k: int) -> None:
    if not len(rows):
        return
    order = np.lexsort((places, values, rows))
    rows, values, places = rows[order], values[order], places[order]
    last = np.append((rows[1:] != rows[:-1]) | (values[1:] != values[:-1]), True)
    ends = np.flatnonzero(last)
    counts = np.diff(ends, prepend=-1)
    rows, values, places = rows[ends], values[ends], places[ends]
    order = np.lexsort((-places, -counts, rows))
    rows, values = rows[order], values[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank < k
    found[rows[kept], rank[kept]] = values[kept]
