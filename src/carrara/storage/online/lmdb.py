"""LMDB: the embedded online store, a memory-mapped B-tree that many processes read at once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import lmdb

_WATERMARK = b"\x00watermark"
_MAP_BYTES = 1 << 36
"""Address space, not disk: the file grows with what is stored in it."""


class LmdbOnlineStore:
    """One LMDB environment; a key is the table's name, a zero byte, and the entity key's bytes."""

    def __init__(self, address: str, root: Path) -> None:
        folder = root / address.removeprefix("lmdb:")
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = lmdb.open(str(folder), map_size=_MAP_BYTES, max_dbs=0, readahead=False, max_readers=1024)

    def write(
        self,
        table: str,
        keys: Sequence[bytes],
        rows: Sequence[bytes],
        *,
        expected: int | None,
        watermark: int,
    ) -> bool:
        prefix = _prefix(table)
        with self._environment.begin(write=True) as transaction:
            if _unpacked(transaction.get(prefix + _WATERMARK)) != expected:
                transaction.abort()
                return False
            with transaction.cursor() as cursor:
                cursor.putmulti([(prefix + key, row) for key, row in zip(keys, rows, strict=True)])
            transaction.put(prefix + _WATERMARK, struct.pack("<q", watermark))
        return True

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        prefix = _prefix(table)
        with self._environment.begin() as transaction:
            return [transaction.get(prefix + key) for key in keys]

    def watermark(self, table: str) -> int | None:
        with self._environment.begin() as transaction:
            return _unpacked(transaction.get(_prefix(table) + _WATERMARK))

    def clear(self, table: str) -> None:
        prefix = _prefix(table)
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()

    def close(self) -> None:
        self._environment.close()


def _prefix(table: str) -> bytes:
    return table.encode() + b"\x00"


def _unpacked(value: bytes | None) -> int | None:
    return None if value is None else int(struct.unpack("<q", value)[0])
