"""Quantiles of a stream of numbers: exact while the values are few, then in bins that merge exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MOST_BINS = 4_096
"""How many bins a sketch keeps; more of them halve the error and double the bytes."""

_DENSE_SHARE = 8
_DENSE_SPAN = 1 << 22
_SIGN_BITS = 63
_ALL_BUT_SIGN = np.int64(0x7FFF_FFFF_FFFF_FFFF)


@dataclass
class QuantileSketch:
    """A histogram whose bins are ranges of float64 values, as fine as `MOST_BINS` bins allow.

    The 64 bits of a float, taken as a whole number, sort as the float does. A bin is what those numbers share
    without their `shift` lowest bits, and `shift` is the smallest with which all values seen fill at most
    `MOST_BINS` bins. That makes a sketch a pure function of the multiset of values: it does not depend on the
    order, merging is exact, and nothing is random. Up to `MOST_BINS` distinct values it is exact.

    The idea is that of DDSketch (Masson, Rim and Lee, VLDB 2019) with the uniform collapse of UDDSketch
    (Epicoco et al., 2020); bits in place of logarithms are the mapping of HDR histograms.

    `counts` are weights: whole numbers in float64, exact up to 2^53 rows, unless values came with weights.

    >>> sketch = QuantileSketch()
    >>> sketch.add(np.array([3.0, 1.0, 2.0]))
    >>> sketch.quantile(0.5), sketch.exact
    (2.0, True)
    """

    shift: int = 0
    codes: Codes = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Floats = field(default_factory=lambda: np.empty(0, np.float64))
    least: float = np.inf
    greatest: float = -np.inf

    @property
    def exact(self) -> bool:
        """Whether every distinct value still has a bin of its own."""
        return self.shift == 0

    @property
    def total(self) -> float:
        return float(self.counts.sum())

    def add(self, values: Floats, weights: Floats | None = None) -> None:
        """Count finite values, shape (n,); raises DataError for NaN or infinities."""
        if self.exact and values.size > 2 * MOST_BINS:
            # The first few tell how fine the bins can be, and the others need no sort.
            few = 2 * MOST_BINS
            self.add(values[:few], None if weights is None else weights[:few])
            values, weights = values[few:], None if weights is None else weights[few:]
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError("a quantile sketch takes finite numbers only")
        self.least, self.greatest = min(self.least, low), max(self.greatest, high)
        codes = order_codes(values)
        if self.shift:
            np.right_shift(codes, self.shift, out=codes)
        self._take(*_counted(codes, weights))

    def merge(self, other: QuantileSketch) -> None:
        """Add all that another sketch has seen."""
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)
        shift = max(self.shift, other.shift)
        self._coarsen(shift - self.shift)
        codes, counts = _folded(other.codes, other.counts, shift - other.shift)
        self._take(codes, counts)

    @classmethod
    def merged(cls, parts: Sequence[QuantileSketch]) -> QuantileSketch:
        """The sketch of all that some have seen, at once."""
        shift = max((part.shift for part in parts), default=0)
        folded = [_folded(part.codes, part.counts, shift - part.shift) for part in parts if part.codes.size]
        made = cls(shift)
        if folded:
            codes, counts = (np.concatenate(side) for side in zip(*folded, strict=True))
            made._take(*_summed(codes, counts))
        made.least = min((part.least for part in parts), default=np.inf)
        made.greatest = max((part.greatest for part in parts), default=-np.inf)
        return made

    def values(self) -> Floats:
        """The middle of each bin, ascending: the distinct values themselves while the sketch is exact."""
        low, high = self.bounds()
        return low + (high - low) / 2 if self.shift else low

    def bounds(self) -> tuple[Floats, Floats]:
        """The least and the greatest value that each bin can hold."""
        low = decoded(self.codes << self.shift)
        if not self.shift:
            return low, low
        high = decoded((self.codes << self.shift) | np.int64((1 << self.shift) - 1))
        return np.maximum(low, self.least), np.minimum(high, self.greatest)

    def quantile(self, share: float) -> float:
        """The value below which a share of the rows lies, between neighbours linearly; NaN when empty."""
        return float(self.quantiles(np.array([share]))[0])

    def quantiles(self, shares: npt.ArrayLike) -> Floats:
        """Several quantiles at once, shape (n,)."""
        wanted = np.asarray(shares, np.float64)
        if not self.codes.size:
            return np.full(wanted.shape, np.nan)
        place = wanted * max(self.total - 1, 0.0)
        below = np.floor(place)
        low, high = self._at_rank(below), self._at_rank(np.minimum(below + 1, max(self.total - 1, 0.0)))
        found = low + (high - low) * (place - below)
        return np.where(wanted <= 0, self.least, np.where(wanted >= 1, self.greatest, found))

    def below(self, edges: npt.ArrayLike) -> Floats:
        """How much of the weight lies below each edge, shape (n,); a bin that an edge cuts counts in part."""
        wanted = np.asarray(edges, np.float64)
        if not self.codes.size:
            return np.zeros(wanted.shape)
        low, high = self.bounds()
        until = np.concatenate([[0.0], np.cumsum(self.counts)])
        place = np.searchsorted(low, wanted, side="left")
        last = np.maximum(place - 1, 0)
        width = high[last] - low[last]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            part = np.where(width > 0, np.clip((wanted - low[last]) / width, 0.0, 1.0), 1.0)
        return np.where(place > 0, until[last] + part * self.counts[last], 0.0)

    def histogram(self, edges: npt.ArrayLike) -> Floats:
        """The weight in each of the bins [a, b), the last one [a, b], shape (len(edges) - 1,).

        Whole numbers, which sum to what lies between the ends, where the values came without weights.
        """
        wanted = np.asarray(edges, np.float64)
        found = self.below(wanted)
        found[-1] = self.below(np.nextafter(wanted[-1:], np.inf))[0]
        return np.diff(np.rint(found) if self._whole() else found)

    def as_dict(self) -> dict[str, Any]:
        """Plain data with the arrays as little-endian bytes; `from_dict` reads it back."""
        return {
            "shift": self.shift,
            "least": self.least,
            "greatest": self.greatest,
            "codes": self.codes.astype("<i8").tobytes(),
            "counts": self.counts.astype("<f8").tobytes(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> QuantileSketch:
        codes = np.frombuffer(data["codes"], "<i8").astype(np.int64)
        counts = np.frombuffer(data["counts"], "<f8").astype(np.float64)
        return cls(data["shift"], codes, counts, data["least"], data["greatest"])

    def _take(self, codes: Codes, counts: Floats) -> None:
        if not self.codes.size:
            self.codes, self.counts = codes, counts
        else:
            places = np.searchsorted(self.codes, codes)
            known = self.codes[np.minimum(places, self.codes.size - 1)] == codes
            self.counts = self.counts.copy()
            self.counts[places[known]] += counts[known]
            self.codes = np.insert(self.codes, places[~known], codes[~known])
            self.counts = np.insert(self.counts, places[~known], counts[~known])
        self._coarsen(_excess(self.codes))

    def _coarsen(self, bits: int) -> None:
        if bits:
            self.codes, self.counts = _folded(self.codes, self.counts, bits)
            self.shift += bits

    def _at_rank(self, ranks: Floats) -> Floats:
        until = np.cumsum(self.counts)
        places = np.minimum(np.searchsorted(until, ranks, side="right"), self.codes.size - 1)
        low, high = self.bounds()
        if not self.shift:
            return low[places]
        inside = (ranks - (until[places] - self.counts[places]) + 0.5) / self.counts[places]
        return low[places] + (high[places] - low[places]) * np.clip(inside, 0.0, 1.0)

    def _whole(self) -> bool:
        return bool((self.counts == np.rint(self.counts)).all())


def order_codes(values: Floats) -> Codes:
    """Whole numbers that sort as the floats do; -0.0 is 0.0.

    >>> order_codes(np.array([-1.0, -0.0, 0.0, 1.0])).argsort(kind="stable").tolist()
    [0, 1, 2, 3]
    """
    bits = (values + 0.0).view(np.int64)
    flips = bits >> _SIGN_BITS
    flips &= _ALL_BUT_SIGN
    bits ^= flips
    return bits


def decoded(codes: Codes) -> Floats:
    """The floats that `order_codes` stands for."""
    return (codes ^ ((codes >> _SIGN_BITS) & _ALL_BUT_SIGN)).view(np.float64)


def _counted(codes: Codes, weights: Floats | None) -> tuple[Codes, Floats]:
    first = codes.min()
    # Python's whole numbers: the span of all floats does not fit into 64 bits.
    span = int(codes.max()) - int(first)
    if span >= min(_DENSE_SPAN, _DENSE_SHARE * codes.size):
        return _summed(codes, weights)
    codes -= first
    dense = np.bincount(codes, weights=weights)
    occupied = np.flatnonzero(dense if weights is None else np.bincount(codes))
    return occupied + first, dense[occupied].astype(np.float64)


def _summed(codes: Codes, counts: Floats | None) -> tuple[Codes, Floats]:
    if counts is None:
        unique, rows = np.unique(codes, return_counts=True)
        return unique, rows.astype(np.float64)
    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    return codes[first], np.add.reduceat(counts, first)


def _folded(codes: Codes, counts: Floats, bits: int) -> tuple[Codes, Floats]:
    return _summed(codes >> bits, counts) if bits and codes.size else (codes, counts)


def _excess(codes: Codes) -> int:
    """How many more low bits must go until the sorted codes fill at most MOST_BINS bins."""
    if codes.size <= MOST_BINS:
        return 0
    low, high = 1, _SIGN_BITS
    while low < high:
        middle = (low + high) // 2
        cut = codes >> middle
        if np.count_nonzero(cut[1:] != cut[:-1]) + 1 <= MOST_BINS:
            high = middle
        else:
            low = middle + 1
    return low
