"""Distinct counts over many ranges of one column, exactly, whatever their lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def distinct_counts(codes: Array, values: Array, starts: Array, ends: Array) -> Array:
    """How many distinct values each range [start, end) holds, shape (ranges,); NaN is no value.

    `codes` are the entities of the values, of which a range holds one. In a range those values count whose last
    occurrence before lies outside of it.

    >>> codes, values = np.zeros(5, np.int64), np.array([1.0, 2.0, 1.0, np.nan, 2.0])
    >>> distinct_counts(codes, values, np.array([0, 1, 3]), np.array([5, 4, 4])).tolist()
    [2, 2, 0]
    """
    return _Smaller(_before(codes, values)).counts(starts, ends, starts + 1)


def _before(codes: Array, values: Array) -> Array:
    """One more than the place of each value's last occurrence for its entity, 0 for none; beyond all for NaN."""
    order = np.lexsort((values, codes))
    same = (codes[order][1:] == codes[order][:-1]) & (values[order][1:] == values[order][:-1])
    before = np.zeros(len(values), dtype=np.int64)
    before[order[1:][same]] = order[:-1][same] + 1
    before[np.isnan(values)] = len(values) + 1
    return before


class _Smaller:
    """Counts the numbers below a limit in any range: a wavelet matrix (Claude, Navarro and Ordóñez, 2015), in which
    all ranges go down the bits together."""

    def __init__(self, numbers: Array) -> None:
        # Neither a number nor a limit is greater than one more than how many there are.
        self._bits = range((len(numbers) + 1).bit_length() - 1, -1, -1)
        self._zeros = []
        for bit in self._bits:
            ones = ((numbers >> bit) & 1).astype(bool)
            self._zeros.append(np.concatenate(([0], np.cumsum(~ones))))
            numbers = np.concatenate((numbers[~ones], numbers[ones]))

    def counts(self, starts: Array, ends: Array, limits: Array) -> Array:
        low, high, found = starts, ends, np.zeros(len(starts), dtype=np.int64)
        for bit, zeros in zip(self._bits, self._zeros, strict=True):
            set_, low_zeros, high_zeros = ((limits >> bit) & 1).astype(bool), zeros[low], zeros[high]
            found += np.where(set_, high_zeros - low_zeros, 0)
            low = np.where(set_, zeros[-1] + low - low_zeros, low_zeros)
            high = np.where(set_, zeros[-1] + high - high_zeros, high_zeros)
        return found
