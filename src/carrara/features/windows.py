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
from typing import Any, TypeVar

import numpy as np

from carrara.core.clock import duration, microseconds
from carrara.features.aggregates import AggregateView, Aggregation
from carrara.features.distinct_counts import distinct_counts
from carrara.features.search import TimeIndex
from carrara.features.top import gathered, split, top_values

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Events:
    """Events sorted by entity code, then time: `codes` int64, `times` and `known` (when an event became known, not
    before its time) int64 microseconds, columns float64."""

    codes: Array
    times: Array
    known: Array
    columns: Mapping[str, Array]

    def __getitem__(self, places: Any) -> Events:
        columns = {name: values[places] for name, values in self.columns.items()}
        return Events(self.codes[places], self.times[places], self.known[places], columns)


def joined(events: Events, more: Events) -> Events:
    """The events of both, in order; of one moment in the order in which they became known, then by their columns."""
    if not len(more.codes):
        return events
    columns = {name: np.concatenate([values, more.columns[name]]) for name, values in events.columns.items()}
    codes, times = np.concatenate([events.codes, more.codes]), np.concatenate([events.times, more.times])
    both = Events(codes, times, np.concatenate([events.known, more.known]), columns)
    by_value = [np.where(np.isnan(values), -np.inf, values) for values in reversed(columns.values())]
    present = [~np.isnan(values) for values in reversed(columns.values())]
    ties = [key for pair in zip(by_value, present, strict=True) for key in pair]
    return both[np.lexsort((*ties, both.known, both.times, both.codes))]


def window_values(view: AggregateView, events: Events, codes: Array, times: Array) -> dict[str, Array]:
    """Each feature of `view` at (codes, times), as float64 columns with NaN for missing.

    A window of width w at time T covers the events with T - w < event time <= T that were known at T. A code of -1
    stands for an entity without events.
    """
    search = TimeIndex(events.codes, events.times)
    result = _values(view, events, search, codes, times)
    blind = np.flatnonzero(_blind(events, codes, times))
    lengths = search.after(codes[blind], times[blind]) - search.after(codes[blind], times[blind] - view.longest_window)
    for part in split(lengths):
        some = blind[part]
        visible, places = _visible(view, events, search, codes[some], times[some])
        seen = _values(view, visible, TimeIndex(visible.codes, visible.times), places, times[some])
        for name, values in seen.items():
            result[name][some] = values
    return result


def _blind(events: Events, codes: Array, times: Array) -> Array:
    """Where an event of the entity was there already and known only later; there a window has holes."""
    late = events.known > events.times
    if not late.any():
        return np.zeros(len(codes), dtype=bool)
    there = events[late]
    told = there[np.lexsort((there.known, there.codes))]
    happened, heard = TimeIndex(there.codes, there.times), TimeIndex(told.codes, told.known)
    return happened.after(codes, times) > heard.after(codes, times)


def _visible(
    view: AggregateView, events: Events, search: TimeIndex, codes: Array, times: Array
) -> tuple[Events, Array]:
    """The events of each row's longest window that were known by then, as those of an entity of its own."""
    rows, places = gathered(search.after(codes, times - view.longest_window), search.after(codes, times))
    known = events.known[places] <= times[rows]
    found = events[places[known]]
    return Events(rows[known], found.times, found.known, found.columns), np.arange(len(codes))


def _values(view: AggregateView, events: Events, search: TimeIndex, codes: Array, times: Array) -> dict[str, Array]:
    end = search.after(codes, times)
    widths = list(dict.fromkeys(window for a in view.aggregations for window in a.windows))
    starts = np.stack([search.after(codes, times - microseconds(duration(width))) for width in widths])
    columns = {name: _Column(events.codes, values, starts, end) for name, values in events.columns.items()}
    result: dict[str, Array] = {}
    for aggregation in view.aggregations:
        for window in aggregation.windows:
            place = widths.index(window)
            if aggregation.column is None:
                made = (end - starts[place]).astype(np.float64)[:, None]
            else:
                made = columns[aggregation.column].values(aggregation, place)
            result.update(zip(aggregation.features(window), made.T, strict=True))
    return result


class _Column:
    """One column over all windows: `starts` is (windows, rows), `end` (rows,), both places among the events."""

    def __init__(self, codes: Array, values: Array, starts: Array, end: Array) -> None:
        self._codes, self._values, self._starts, self._end = codes, values, starts, end
        self._present = ~np.isnan(values)

    def values(self, aggregation: Aggregation, window: int) -> Array:
        """The features of an aggregation and window, shape (rows, features)."""
        if aggregation.function == "top":
            return top_values(self._values, self._starts[window], self._end, aggregation.k)
        if aggregation.function == "lag":
            return self._newest(window, aggregation.k)
        return self._value(aggregation, window)[:, None]

    def _value(self, aggregation: Aggregation, window: int) -> Array:
        if aggregation.function == "distinct":
            counts = distinct_counts(self._codes, self._values, self._starts[window], self._end)
            return counts.astype(np.float64)
        if aggregation.function in ("first", "last"):
            return self._end_of(window, newest=aggregation.function == "last")
        counts = self._counts[window]
        return np.where(counts > 0, self._joined(aggregation.function, window, counts), np.nan)

    def _joined(self, function: str, window: int, counts: Array) -> Array:
        if function in ("min", "max"):
            found: Array = (self._least if function == "min" else self._greatest)[window]
            return found
        if function == "std":
            return _finite(np.sqrt(_divided(self._squares[window], counts)))
        sums: Array = self._sums[window]
        return sums if function == "sum" else _divided(sums, counts)

    def _end_of(self, window: int, *, newest: bool) -> Array:
        """The value of the last event, or of the first one, that has one."""
        places = np.arange(len(self._values))
        values = np.append(self._values, np.nan)
        if newest:
            latest = np.maximum.accumulate(np.where(self._present, places, -1))
            at = np.concatenate(([-1], latest))[self._end]
            return np.where(at >= self._starts[window], values[at], np.nan)
        none = len(self._values)
        next_ = np.minimum.accumulate(np.where(self._present, places, none)[::-1])[::-1]
        at = np.append(next_, none)[self._starts[window]]
        return np.where(at < self._end, values[at], np.nan)

    def _newest(self, window: int, k: int) -> Array:
        """The values of the k last events that have one, shape (rows, k), the newest first."""
        there = np.append(np.flatnonzero(self._present), -1)
        until = np.concatenate(([0], np.cumsum(self._present)))[self._end]
        which = until[:, None] - np.arange(1, k + 1)
        places = there[np.where(which >= 0, which, len(there) - 1)]
        inside = places >= self._starts[window][:, None]
        return np.where(inside & (places >= 0), np.append(self._values, np.nan)[places], np.nan)

    @cached_property
    def _counts(self) -> Array:
        before = np.concatenate(([0], np.cumsum(self._present)))
        return before[self._end] - before[self._starts]

    @cached_property
    def _sums(self) -> Array:
        return self._blocks(np.add, 0.0)

    @cached_property
    def _least(self) -> Array:
        return self._blocks(np.minimum, np.inf)

    @cached_property
    def _greatest(self) -> Array:
        return self._blocks(np.maximum, -np.inf)

    @cached_property
    def _squares(self) -> Array:
        """The sums of squared distances from each window's own mean."""
        values = np.where(self._present, self._values, 0.0)
        with np.errstate(invalid="ignore"):
            # Zero, but for an infinity, whose distance from itself is no number.
            parts = _Spread(self._present.astype(np.float64), values, values * 0.0)
        return _over_blocks(parts, _Spread.none(self._starts.shape), self._starts, self._end - self._starts).squares

    def _blocks(self, function: np.ufunc, nothing: float) -> Array:
        values = _Plain(function, np.where(self._present, self._values, nothing))
        start = _Plain(function, np.full(self._starts.shape, nothing))
        return _over_blocks(values, start, self._starts, self._end - self._starts).values


@dataclass
class _Plain:
    """Values that a function joins two and two."""

    function: np.ufunc
    values: Array

    def __getitem__(self, places: Any) -> _Plain:
        return _Plain(self.function, self.values[places])

    def __setitem__(self, places: Any, part: _Plain) -> None:
        self.values[places] = part.values

    def joined(self, other: _Plain) -> _Plain:
        with np.errstate(invalid="ignore", over="ignore"):
            return _Plain(self.function, self.function(self.values, other.values))


@dataclass
class _Spread:
    """Counts, means and sums of squared distances, joined as Chan, Golub and LeVeque (1979): no digits are lost."""

    counts: Array
    means: Array
    squares: Array

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> _Spread:
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def __getitem__(self, places: Any) -> _Spread:
        return _Spread(self.counts[places], self.means[places], self.squares[places])

    def __setitem__(self, places: Any, part: _Spread) -> None:
        self.counts[places], self.means[places], self.squares[places] = part.counts, part.means, part.squares

    def joined(self, other: _Spread) -> _Spread:
        counts = self.counts + other.counts
        some = np.maximum(counts, 1.0)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = other.means - self.means
            # A side without values has no mean: 0 times an infinity must not reach the other one.
            share = np.where(other.counts > 0, apart * (other.counts / some), 0.0)
            means = np.where(self.counts > 0, self.means + share, other.means)
            both = (self.counts > 0) & (other.counts > 0)
            between = np.where(both, apart * apart * (self.counts * other.counts / some), 0.0)
            return _Spread(counts, means, self.squares + other.squares + between)


Blocks = TypeVar("Blocks", _Plain, _Spread)


def _over_blocks(values: Blocks, found: Blocks, starts: Array, lengths: Array) -> Blocks:
    """The `values[start : start + length]` joined, for each start and length, beginning with `found`.

    Each run is cut into blocks of 1, 2, 4, … values, by the bits of its length, and all blocks of one size are
    joined at once from those of half the size. So the same values give the same bits wherever they lie.
    """
    place, blocks, size = starts.copy(), values, 1
    longest = int(lengths.max(initial=0))
    while size <= longest:
        taken = (lengths & size) != 0
        found[taken] = found[taken].joined(blocks[place[taken]])
        place += lengths & size
        blocks, size = blocks[:-size].joined(blocks[size:]), size * 2
    return found


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _divided(values: Array, counts: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return values / counts
