"""Sliding windows: an aggregate view's exact values at given entities and times.

One kernel for the training set (all events, all labels) and for a request (the few events of its entities), so
that the two cannot differ: a window is found by two binary searches, and its value comes from its own events
alone. A difference of prefix sums would not do, since an infinite or a huge value before a window, or of another
entity, would reach into it in a training set and not online.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from carrara.core.clock import duration, microseconds
from carrara.features.aggregates import AggregateView, Aggregation

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Events:
    """Events sorted by entity code, then time: `codes` int64, `times` int64 microseconds, columns float64."""

    codes: Array
    times: Array
    columns: Mapping[str, Array]


def window_values(view: AggregateView, events: Events, codes: Array, times: Array) -> dict[str, Array]:
    """Each feature of `view` at (codes, times), as float64 columns with NaN for missing.

    A window of width w at time T covers the events with T - w < event time <= T. A code of -1 stands for an
    entity without events.
    """
    search = _Search(events)
    end = search(codes, times)
    widths = list(dict.fromkeys(window for a in view.aggregations for window in a.windows))
    starts = np.stack([search(codes, times - microseconds(duration(width))) for width in widths])
    columns = {name: _Column(values, starts, end) for name, values in events.columns.items()}
    result = {}
    for aggregation in view.aggregations:
        for window in aggregation.windows:
            place = widths.index(window)
            column = columns[aggregation.column] if aggregation.column is not None else None
            made = (end - starts[place]).astype(np.float64) if column is None else column.value(aggregation, place)
            result[aggregation.feature(window)] = made
    return result


class _Search:
    """Finds, for (code, time), how many events come before or at it in the order of the events."""

    def __init__(self, events: Events) -> None:
        self._moments, ranks = np.unique(events.times, return_inverse=True)
        self._stride = len(self._moments) + 1
        self._order = events.codes * self._stride + ranks + 1

    def __call__(self, codes: Array, times: Array) -> Array:
        rank = np.searchsorted(self._moments, times, side="right")
        return np.searchsorted(self._order, codes * self._stride + rank, side="right")


class _Column:
    """One column over all windows: `starts` is (windows, rows), `end` (rows,), both places among the events."""

    def __init__(self, values: Array, starts: Array, end: Array) -> None:
        self._values, self._starts, self._end = values, starts, end
        self._present = ~np.isnan(values)

    def value(self, aggregation: Aggregation, window: int) -> Array:
        if aggregation.function == "last":
            return self._last(window)
        counts, sums = self._counts[window], self._sums[window]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, sums if aggregation.function == "sum" else sums / counts, np.nan)

    def _last(self, window: int) -> Array:
        newest = np.maximum.accumulate(np.where(self._present, np.arange(len(self._values)), -1))
        at = np.concatenate(([-1], newest))[self._end]
        return np.where(at >= self._starts[window], np.append(self._values, np.nan)[at], np.nan)

    @cached_property
    def _counts(self) -> Array:
        before = np.concatenate(([0], np.cumsum(self._present)))
        return before[self._end] - before[self._starts]

    @cached_property
    def _sums(self) -> Array:
        return _sums(np.where(self._present, self._values, 0.0), self._starts, self._end - self._starts)


def _sums(values: Array, starts: Array, lengths: Array) -> Array:
    """The sum of `values[start : start + length]` for each start and length.

    Each run is cut into blocks of 1, 2, 4, … values, by the bits of its length, and the sums of all blocks of one
    size are made at once from those of half the size. So the same values give the same bits wherever they lie.
    """
    sums, place, blocks, size = np.zeros(starts.shape), starts.copy(), values, 1
    longest = int(lengths.max(initial=0))
    with np.errstate(invalid="ignore", over="ignore"):
        while size <= longest:
            taken = (lengths & size) != 0
            sums[taken] += blocks[place[taken]]
            place += lengths & size
            blocks, size = blocks[:-size] + blocks[size:], size * 2
    return sums
