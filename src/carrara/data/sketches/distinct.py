"""How many distinct values a stream has, within one percent, in 16 KiB."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]
Registers = npt.NDArray[np.uint8]

_PRECISION = 14
_REGISTERS = 1 << _PRECISION
_RANKS = 64 - _PRECISION + 1
_LETTERS = 64


@dataclass
class DistinctSketch:
    """HyperLogLog++ (Heule, Nunkesser and Hall, 2013): 64-bit hashes, 2^14 registers, relative error 0.8 %.

    The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), which is
    unbiased from one value to billions without the original's tables. Merging is exact: the greater register.
    """

    registers: Registers = field(default_factory=lambda: np.zeros(_REGISTERS, np.uint8))

    def add(self, hashes: Hashes) -> None:
        """Take uniform 64-bit hashes, shape (n,)."""
        if not hashes.size:
            return
        index = (hashes >> np.uint64(64 - _PRECISION)).astype(np.int64)
        # 53 bits are exact in a float64, whose exponent counts the leading zeros; the lowest bit stops the count.
        rest = ((hashes << np.uint64(_PRECISION)) >> np.uint64(11)) | np.uint64(1 << (_PRECISION - 11))
        exponent = (rest.astype(np.float64).view(np.int64) >> 52) - 1023
        index *= 64
        index += 53 - exponent
        seen = np.bincount(index, minlength=_REGISTERS * 64).reshape(_REGISTERS, 64) > 0
        found = 63 - np.argmax(seen[:, ::-1], axis=1)
        np.maximum(self.registers, np.where(seen.any(axis=1), found, 0).astype(np.uint8), out=self.registers)

    def merge(self, other: DistinctSketch) -> None:
        np.maximum(self.registers, other.registers, out=self.registers)

    def estimate(self) -> int:
        counts = np.bincount(self.registers, minlength=_RANKS + 1)
        z = _REGISTERS * _tau(1 - counts[_RANKS] / _REGISTERS)
        for rank in range(_RANKS - 1, 0, -1):
            z = 0.5 * (z + counts[rank])
        z += _REGISTERS * _sigma(counts[0] / _REGISTERS)
        return round(_REGISTERS * _REGISTERS / (2 * math.log(2)) / z)


def hash_numbers(values: npt.NDArray[np.int64]) -> Hashes:
    """Hashes of 64-bit patterns, shape (n,): the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = values.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_texts(values: pl.Series) -> Hashes:
    """Hashes of texts, shape (n,), by tabulation of their bytes (Zobrist, 1970); the same in every release.

    Polars' own hash is faster and may change with its version, which would spoil what was stored.
    """
    lengths = values.str.len_bytes().to_numpy().astype(np.int64)
    data = np.frombuffer("".join(values.to_list()).encode(), np.uint8)
    ends = np.cumsum(lengths)
    places = np.arange(data.size) - np.repeat(ends - lengths, lengths)
    letters = _TABLE[((places & (_LETTERS - 1)) << 8) | data]
    if lengths.max(initial=0) > _LETTERS:
        # A letter beyond the table's places counts with its place as well.
        letters *= (2 * (places >> 6) + 1).view(np.uint64)
    until = np.concatenate([np.zeros(1, np.uint64), np.cumsum(letters)])
    sums = until[ends] - until[ends - lengths]
    return hash_numbers((sums + lengths.view(np.uint64)).view(np.int64))


_TABLE = hash_numbers(np.arange(_LETTERS * 256, dtype=np.int64))


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if z == before:
            return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
        if z == before:
            return z / 3
