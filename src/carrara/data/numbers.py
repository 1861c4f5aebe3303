"""Numbers of a column: moments, distribution and distinct values in one, for statistics that merge."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.hashing import hash_numbers
from carrara.data.sketches.distinct import DistinctSketch
from carrara.data.sketches.moments import Moments
from carrara.data.sketches.quantiles import QuantileSketch

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

DECILES = [q / 10 for q in range(11)]

_BINS = 20
_EXACT_INTEGERS = 2.0**53


@dataclass
class Numbers:
    """What a column of numbers holds: its moments, distribution and distinct values.

    `distinct` is None while the sketch is exact and its bins are the distinct values; `whole` says that they are
    whole numbers, which are hashed as such: past 2^53 several of them share one float64.
    """

    whole: bool = False
    moments: Moments = field(default_factory=Moments)
    sketch: QuantileSketch = field(default_factory=QuantileSketch)
    zeros: float = 0.0
    distinct: DistinctSketch | None = None

    def add(self, values: Floats, weights: Floats | None = None, integers: Integers | None = None) -> None:
        """Take finite values; `integers` are the same ones before they became float64."""
        known = self._known() if self.distinct is None else None
        self.moments.add(values, weights)
        self.sketch.add(values, weights)
        zero = values == 0
        self.zeros += float(np.count_nonzero(zero) if weights is None else weights[zero].sum())
        if weights is not None:
            return
        if known is not None and not self._few():
            self.distinct = DistinctSketch()
            self.distinct.add(hash_numbers(known))
        if self.distinct is not None:
            self.distinct.add(hash_numbers(integers if integers is not None else self._patterns(values)))

    def merge(self, other: Numbers) -> None:
        ours, theirs = self._known(), other._known()
        self.moments.merge(other.moments)
        self.sketch.merge(other.sketch)
        self.zeros += other.zeros
        if self.distinct is None and other.distinct is None and self._few():
            return
        merged = DistinctSketch()
        for known, sketch in ((ours, self.distinct), (theirs, other.distinct)):
            if sketch is not None:
                merged.merge(sketch)
            else:
                merged.add(hash_numbers(known))
        self.distinct = merged

    def count_distinct(self) -> int:
        return int(self.sketch.codes.size) if self.distinct is None else self.distinct.estimate()

    def summary(self) -> dict[str, Any]:
        if not self.moments.weight:
            nothing = dict.fromkeys(("mean", "std", "min", "max"))
            return {**nothing, "zeros": 0, "quantiles": [], "histogram": None, "quantile_histogram": None}
        quantiles = self.sketch.quantiles(DECILES)
        return {
            "mean": self.moments.mean,
            "std": self.moments.std,
            "min": self.sketch.least,
            "max": self.sketch.greatest,
            "zeros": whole_or_float(self.zeros),
            "quantiles": quantiles.tolist(),
            "histogram": self.histogram(),
            "quantile_histogram": _histogram(self.sketch, np.unique(quantiles)),
        }

    def histogram(self) -> dict[str, Any]:
        """`edges` of twenty equal widths, and `counts`; one bin where all values are equal."""
        return _histogram(self.sketch, equal_edges([self], _BINS))

    def as_dict(self) -> dict[str, Any]:
        return {
            "whole": self.whole,
            "moments": self.moments.as_dict(),
            "sketch": self.sketch.as_dict(),
            "zeros": self.zeros,
            "distinct": packed(self.distinct),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Numbers:
        moments, sketch = Moments(**data["moments"]), QuantileSketch.from_dict(data["sketch"])
        return cls(data["whole"], moments, sketch, data["zeros"], unpacked(data["distinct"]))

    def _few(self) -> bool:
        if not (self.whole and self.sketch.codes.size):
            return self.sketch.exact
        return self.sketch.exact and max(abs(self.sketch.least), abs(self.sketch.greatest)) <= _EXACT_INTEGERS

    def _known(self) -> Integers:
        """The distinct values, while the bins are those."""
        return self._patterns(self.sketch.values() if self.distinct is None else np.empty(0))

    def _patterns(self, values: Floats) -> Integers:
        return values.astype(np.int64) if self.whole else (values + 0.0).view(np.int64)


def equal_edges(parts: list[Numbers], bins: int) -> Floats:
    """Edges of about so many bins of equal width over all that the parts hold, ascending.

    Bins of whole numbers hold as many whole numbers each, so that none looks empty for its place alone.
    """
    low = min(numbers.sketch.least for numbers in parts)
    high = max(numbers.sketch.greatest for numbers in parts)
    if all(numbers.whole for numbers in parts) and max(abs(low), abs(high)) < _EXACT_INTEGERS / 2:
        step = math.ceil((high - low + 1) / bins)
        return low + step * np.arange(math.ceil((high - low + 1) / step) + 1, dtype=np.float64)
    # Halves, because the width of a column that goes from -1e308 to 1e308 is not a float64.
    edges: Floats = 2 * np.linspace(low / 2, high / 2, bins + 1)
    edges[0], edges[-1] = low, high
    return np.unique(edges)


def _histogram(sketch: QuantileSketch, edges: Floats) -> dict[str, Any]:
    if edges.size < 2:
        return {"edges": [float(edges[0]), float(edges[0])], "counts": [whole_or_float(sketch.total)]}
    return {"edges": edges.tolist(), "counts": [whole_or_float(c) for c in sketch.histogram(edges)]}


def whole_or_float(value: float) -> float | int:
    """A count as people expect it: whole, unless weights made it a fraction."""
    return int(value) if float(value).is_integer() else float(value)


def packed(sketch: DistinctSketch | None) -> bytes | None:
    """A sketch's registers as bytes; `unpacked` reads them back."""
    return None if sketch is None else sketch.registers.tobytes()


def unpacked(data: bytes | None) -> DistinctSketch | None:
    return None if data is None else DistinctSketch(np.frombuffer(data, np.uint8).copy())
