"""Sliding windows: an aggregate view's exact values at given entities and times.

One kernel for the training set (all events, all labels) and for a request (the few events of its entities), so
that the two cannot differ. Prefix sums turn each window into two binary searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    starts: dict[str, Array] = {}
    running = {name: _Running(values) for name, values in events.columns.items()}
    result = {}
    for aggregation in view.aggregations:
        for window in aggregation.windows:
            if window not in starts:
                starts[window] = search(codes, times - microseconds(duration(window)))
            result[aggregation.feature(window)] = _value(aggregation, running, starts[window], end)
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


class _Running:
    """Prefix sums of one column, and where its newest value is, before each event.

    Sums are kept in extended precision: a difference of two of them then rounds to the same float64 wherever
    the sum was started.
    """

    def __init__(self, values: Array) -> None:
        present = ~np.isnan(values)
        self.values = values
        self.sums = np.concatenate(([0], np.cumsum(np.where(present, values, 0), dtype=np.longdouble)))
        self.counts = np.concatenate(([0], np.cumsum(present)))
        newest = np.maximum.accumulate(np.where(present, np.arange(len(values)), -1))
        self.newest = np.concatenate(([-1], newest))


def _value(aggregation: Aggregation, running: Mapping[str, _Running], start: Array, end: Array) -> Array:
    if aggregation.column is None:
        return (end - start).astype(np.float64)
    column = running[aggregation.column]
    if aggregation.function == "last":
        at = column.newest[end]
        inside = at >= start
        return np.where(inside, column.values[np.where(inside, at, 0)] if len(column.values) else np.nan, np.nan)
    counts = column.counts[end] - column.counts[start]
    sums = (column.sums[end] - column.sums[start]).astype(np.float64)
    if aggregation.function == "sum":
        return np.where(counts > 0, sums, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)
