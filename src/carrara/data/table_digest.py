"""A digest of a table's rows that neither their order nor their batches change."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from carrara.core.digests import digest_data

_LANES = 4
_MODULUS = 1 << 64


@dataclass
class TableDigest:
    """Sums of the rows' hashes, four of 64 bits: equal for equal multisets of rows, and parts add up.

    It tells tables apart, and does not protect against somebody who forges one. The hash is Polars', which may
    change with its version.
    """

    sums: tuple[int, ...] = (0,) * _LANES
    rows: int = 0

    def add(self, batch: pl.DataFrame) -> None:
        if batch.width and batch.height:
            lanes = [batch.hash_rows(seed=lane).to_numpy().sum(dtype="uint64") for lane in range(_LANES)]
            self.sums = tuple((old + int(new)) % _MODULUS for old, new in zip(self.sums, lanes, strict=True))
        self.rows += batch.height

    def merge(self, other: TableDigest) -> None:
        self.sums = tuple((a + b) % _MODULUS for a, b in zip(self.sums, other.sums, strict=True))
        self.rows += other.rows

    def hexdigest(self, schema: pl.Schema) -> str:
        """The digest, with the names and types of the columns."""
        return digest_data([[name, str(dtype)] for name, dtype in schema.items()] + [self.as_list()])

    def as_list(self) -> list[str]:
        return [str(self.rows), *(f"{lane:016x}" for lane in self.sums)]

    @classmethod
    def from_list(cls, data: list[str]) -> TableDigest:
        return cls(tuple(int(lane, 16) for lane in data[1:]), int(data[0]))


def digest_frame(frame: pl.DataFrame) -> str:
    """The digest of a table in memory.

    >>> digest_frame(pl.DataFrame({"a": [1, 2]})) == digest_frame(pl.DataFrame({"a": [2, 1]}))
    True
    >>> digest_frame(pl.DataFrame({"a": [1, 2]})) == digest_frame(pl.DataFrame({"a": [2, 2]}))
    False
    """
    digest = TableDigest()
    digest.add(frame)
    return digest.hexdigest(frame.schema)
