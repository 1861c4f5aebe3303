"""LMDB: the embedded online store, a memory-mapped B-tree that many processes read at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lmdb

from carrara.core.errors import StorageError

_MAP_BYTES = 1 << 36
"""Address space, not disk: the file grows with what is stored in it."""


class LmdbOnlineStore:
    """One LMDB environment; a key is the table's name, a zero byte, and the entity key's bytes."""

    def __init__(self, address: str, root: Path) -> None:
        folder = root / address.removeprefix("lmdb:")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._environment = lmdb.open(str(folder), map_size=_MAP_BYTES, max_dbs=0, readahead=False, max_readers=1024)

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        prefix = _prefix(table)
        try:
            with self._environment.begin() as transaction:
                return [transaction.get(prefix + key) for key in keys]
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def swap(
        self, table: str, keys: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]
    ) -> list[int]:
        """All rows of one call are replaced in one transaction."""
        prefix, overtaken, put = _prefix(table), [], []
        try:
            with self._environment.begin(write=True) as transaction:
                for place, (key, old, new) in enumerate(zip(keys, before, after, strict=True)):
                    if transaction.get(prefix + key) != old:
                        overtaken.append(place)
                    elif new is None:
                        transaction.delete(prefix + key)
                    else:
                        put.append((prefix + key, new))
                with transaction.cursor() as cursor:
                    # Neighbours lie on one page of the tree.
                    cursor.putmulti(sorted(put))
        except lmdb.Error as error:
            raise self._failed("written", error) from error
        return overtaken

    def close(self) -> None:
        self._environment.close()

    def _failed(self, done: str, error: lmdb.Error) -> StorageError:
        """Also of a store that was closed while another thread was at work."""
        return StorageError(f"the online store at {self._folder} cannot be {done}: {error}")


def _prefix(table: str) -> bytes:
    return table.encode() + b"\x00"
