"""Search by entity and time: how many of an entity's rows come before or at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

Array = np.ndarray[Any, Any]


class TimeIndex:
    """Finds places among rows that are sorted by entity code (0, 1, …), then time (int64 microseconds).

    >>> index = TimeIndex(np.array([0, 0, 2]), np.array([10, 20, 5]))
    >>> index.after(np.array([0, 0, 1, 2, -1]), np.array([9, 20, 99, 5, 5])).tolist()
    [0, 2, 2, 3, 0]
    """

    def __init__(self, codes: Array, times: Array) -> None:
        self._times = times
        entities = int(codes[-1]) + 1 if len(codes) else 0
        # The last two are for codes beyond those that have rows: they have none, and so has -1.
        self._starts = np.append(np.searchsorted(codes, np.arange(entities + 1)), len(codes))
        self._most = entities

    def first(self, codes: Array) -> Array:
        """The place of each entity's first row; that of the next one for an entity without rows."""
        found: Array = np.where(codes < 0, 0, self._starts[np.minimum(codes, self._most)])
        return found

    def after(self, codes: Array, times: Array) -> Array:
        """The place behind each entity's last row that is not later than the time."""
        low, high = self.first(codes), np.where(codes < 0, 0, self._starts[np.minimum(codes, self._most) + 1])
        return last_until(self._times, low, high, times)


def last_until(times: Array, low: Array, high: Array, until: Array) -> Array:
    """For each row the first place in [low, high) of `times`, sorted there, that is later than `until`, or `high`.

    One step of the binary search of all rows at a time.
    """
    low, left = low.copy(), high - low
    for _ in range(int(left.max(initial=0)).bit_length()):
        half = left >> 1
        middle = low + half
        # A row whose search has ended looks at any place, and moves no further.
        earlier = (times[np.minimum(middle, len(times) - 1)] <= until) & (left > 0)
        low = np.where(earlier, middle + 1, low)
        left = np.where(earlier, left - half - 1, half)
    return low


def entity_codes(rows: pl.DataFrame, asked: pl.DataFrame, keys: list[str]) -> tuple[Array, Array]:
    """The entity codes of `rows`, which are sorted by `keys`, and of `asked`; -1 for an entity without rows."""
    groups = rows.lazy().select(keys).group_by(keys, maintain_order=True).len("__len").collect()
    codes = np.repeat(np.arange(groups.height), groups["__len"].to_numpy())
    numbered = groups.select(keys).with_row_index("__code")
    found = asked.select(keys).join(numbered, on=keys, how="left", maintain_order="left")
    return codes, found["__code"].cast(pl.Int64).fill_null(-1).to_numpy()
