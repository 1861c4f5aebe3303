"""Analyzers of numbers: how many are known, exact moments, quantiles. NaN is missing, and infinities are left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from carrara.data.sketches.quantiles import QuantileSketch
from carrara.training.trainers.base import Array

_UNIT = 149
"""Every float32 is a whole number of 2^-149."""
_EXPONENTS = 256
_HALF = 12

_MOST_PARTS = 64
"""Of sketches that are held before they are put together: each has up to 64 KiB."""


@dataclass
class Known:
    """How many values are there."""

    known: int = 0

    def merge(self, other: Known) -> None:
        self.known += other.known

    def filled(self, value: float) -> None:
        raise TypeError("what is known is asked of features as they are")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Presence:
    """Of a column of numbers or texts how many values there are; the empty text is none."""

    def spec(self) -> str:
        return "presence 1"

    def analyze(self, values: Array) -> list[Known]:
        if values.dtype == object:
            return [Known(int(np.count_nonzero(values != "")))]
        return [Known(int(known)) for known in (~np.isnan(values)).sum(axis=0)]

    def read(self, data: Mapping[str, Any]) -> Known:
        return Known(**data)


@dataclass
class Sums:
    """The sum of float32 numbers, in units of 2^-149, and of their squares, in the square of that: whole numbers, so
    that no order of adding changes a digit of the mean or the deviation."""

    known: int = 0
    missing: int = 0
    total: int = 0
    squares: int = 0

    @property
    def mean(self) -> float:
        """NaN without numbers."""
        return self.total / (self.known << _UNIT) if self.known else math.nan

    @property
    def std(self) -> float:
        """The population's standard deviation; NaN without numbers."""
        if not self.known:
            return math.nan
        return math.sqrt((self.known * self.squares - self.total**2) / (self.known**2 << 2 * _UNIT))

    def merge(self, other: Sums) -> None:
        self.known += other.known
        self.missing += other.missing
        self.total += other.total
        self.squares += other.squares

    def filled(self, value: float) -> None:
        number = int(Fraction(float(np.float32(value))) * (1 << _UNIT))
        self.known, missing, self.missing = self.known + self.missing, self.missing, 0
        self.total += missing * number
        self.squares += missing * number**2

    def as_dict(self) -> dict[str, Any]:
        # As texts: they have more bits than a whole number of msgpack.
        return {**asdict(self), "total": hex(self.total), "squares": hex(self.squares)}


@dataclass(frozen=True)
class Moments:
    """The exact sums of a column, and of its squares."""

    def spec(self) -> str:
        return "moments 1"

    def analyze(self, values: Array) -> list[Sums]:
        columns = values.shape[1]
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        exponents = ((bits >> 23) & 0xFF).astype(np.int64)
        finite = exponents < _EXPONENTS - 1
        parts = (bits & 0x7FFFFF) | np.where(exponents > 0, np.uint32(1 << 23), np.uint32(0))
        parts = np.where(finite, parts, 0).astype(np.int64)
        # Numbers below the smallest normal one have its exponent, and no leading bit.
        places = (np.maximum(exponents, 1) + _EXPONENTS * np.arange(columns)).ravel()
        high, low = parts >> _HALF, parts & ((1 << _HALF) - 1)

        def summed(weights: Array) -> Array:
            # Sums of less than 2^53 are exact in the float64 that they are added in: so many rows are in no batch.
            found = np.bincount(places, weights.ravel().astype(np.float64), _EXPONENTS * columns)
            return found.reshape(columns, _EXPONENTS).astype(np.int64)

        totals = summed(np.where(bits >> 31, -parts, parts))
        squares = (summed(high * high), summed(high * low), summed(low * low))
        known, missing = finite.sum(axis=0), np.isnan(values).sum(axis=0)
        return [
            Sums(
                int(known[column]),
                int(missing[column]),
                _whole(totals[column], 1),
                (_whole(squares[0][column], 2) << 2 * _HALF)
                + (_whole(squares[1][column], 2) << _HALF + 1)
                + _whole(squares[2][column], 2),
            )
            for column in range(columns)
        ]

    def read(self, data: Mapping[str, Any]) -> Sums:
        return Sums(data["known"], data["missing"], int(data["total"], 16), int(data["squares"], 16))


def _whole(by_exponent: Array, power: int) -> int:
    """The sum of what is there by exponent, in the unit."""
    found = np.flatnonzero(by_exponent)
    return sum(int(by_exponent[exponent]) << power * (int(exponent) - 1) for exponent in found)


@dataclass
class Distribution:
    """Where a column's numbers lie; what parts have shown is put together when it is looked at, many at once."""

    parts: list[QuantileSketch] = field(default_factory=list)
    missing: int = 0

    @property
    def sketch(self) -> QuantileSketch:
        if len(self.parts) != 1:
            self.parts = [QuantileSketch.merged(self.parts)]
        return self.parts[0]

    @property
    def known(self) -> int:
        return int(self.sketch.total)

    def merge(self, other: Distribution) -> None:
        self.parts.extend(other.parts)
        self.missing += other.missing
        if len(self.parts) > _MOST_PARTS:
            self.parts = [self.sketch]

    def filled(self, value: float) -> None:
        if self.missing:
            one = QuantileSketch()
            one.add(np.array([float(np.float32(value))]))
            one.counts *= self.missing
            self.parts.append(one)
        self.missing = 0

    def as_dict(self) -> dict[str, Any]:
        sketch = self.sketch
        # Neighbours are close: their distances take a fourth of the room.
        return {**sketch.as_dict(), "codes": np.diff(sketch.codes, prepend=0).tobytes(), "missing": self.missing}


@dataclass(frozen=True)
class Quantiles:
    """The quantiles of a column: exact of up to 4,096 different numbers, then by bins as fine as so many allow."""

    def spec(self) -> str:
        return "quantiles 1"

    def analyze(self, values: Array) -> list[Distribution]:
        found = []
        for column in values.T:
            sketch = QuantileSketch()
            sketch.add(column[np.isfinite(column)].astype(np.float64))
            found.append(Distribution([sketch], int(np.isnan(column).sum())))
        return found

    def read(self, data: Mapping[str, Any]) -> Distribution:
        sketch = {name: value for name, value in data.items() if name != "missing"}
        codes = np.cumsum(np.frombuffer(data["codes"], np.int64))
        return Distribution([QuantileSketch.from_dict({**sketch, "codes": codes.tobytes()})], data["missing"])
