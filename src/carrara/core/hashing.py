"""Hashes of values that are the same in every process, release and library version; not for secrets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

_WORD = 8


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
    """Hashes of texts without nulls, shape (n,): their UTF-8 in words of eight bytes, mixed one after the other.

    Polars' own hash is faster and may change with its version, which would spoil what was stored.
    """
    lengths = values.str.len_bytes().to_numpy().astype(np.int64)
    padded = (values + "\0" * _WORD).cast(pl.Binary)
    hashes = hash_numbers(lengths)
    left = np.arange(lengths.size)
    for start in range(0, int(lengths.max(initial=0)), _WORD):
        if start:
            longer = lengths[left] > start
            left, padded = left[longer], padded.filter(pl.Series(longer))
        words = padded.bin.slice(start, _WORD).bin.reinterpret(dtype=pl.UInt64(), endianness="little")
        hashes[left] = hash_numbers((hashes[left] ^ words.to_numpy()).view(np.int64))
    return hashes


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
