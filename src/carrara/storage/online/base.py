"""The protocol of an online store, and how one is opened by its address.

A store keeps bytes: what a row means is packed and unpacked in `features`. To add a store: write a class
with these methods, whose constructor takes (address, root), and name it in the entry-point group
`carrara.online_stores` under its address scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from carrara.core.errors import ConfigurationError
from carrara.core.plugins import plugin


class OnlineStore(Protocol):
    """Rows by (table, key), and one watermark a table."""

    def write(
        self,
        table: str,
        keys: Sequence[bytes],
        rows: Sequence[bytes],
        *,
        expected: int | None,
        watermark: int,
    ) -> bool:
        """Replace these rows and move the watermark, in one atomic step.

        False, and nothing is written, when the table's watermark is not `expected`: another writer
        was there in between.
        """

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows of `keys`, None for those that are not there."""

    def watermark(self, table: str) -> int | None:
        """Microseconds since the epoch up to which the table's source has been written; None at first."""

    def clear(self, table: str) -> None:
        """Remove all rows of a table, and its watermark, in one atomic step."""

    def close(self) -> None: ...


def open_online_store(address: str, root: Path) -> OnlineStore:
    """Open the store at an address such as `lmdb:PATH`; relative paths start at `root`."""
    scheme, separator, _ = address.partition(":")
    if not separator:
        raise ConfigurationError(
            f"'{address}' is not an online store",
            hint="Write a scheme and a place, e.g. lmdb:.carrara/online.",
        )
    store: OnlineStore = plugin("carrara.online_stores", scheme, kind="online store")(address, root)
    return store
