"""Hashes of values that are the same in every process, release and library version; not for secrets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

_LETTERS = 64


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


def hash_keys(rows: pl.DataFrame, key: Sequence[str]) -> Hashes:
    """Hashes of rows by their key columns, as texts, shape (rows,); null is a value of its own.

    >>> rows = pl.DataFrame({"user": [7, 8, 7]})
    >>> hashes = hash_keys(rows, ["user"])
    >>> bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])
    (True, False)
    """
    found = np.zeros(rows.height, np.uint64)
    for name in key:
        column = hash_texts(rows[name].cast(pl.String).fill_null("\0"))
        found = hash_numbers((found + column).view(np.int64))
    return found
