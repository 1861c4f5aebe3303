"""The protocol of an online store, and how one is opened by its address.

A store keeps bytes: what a row means is packed and unpacked in `features`. To add a store: write a class
with these methods, whose constructor takes (address, root), name it in the entry-point group
`carrara.online_stores` under its address scheme, and add it to the conformance tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from carrara.core.errors import ConfigurationError
from carrara.core.plugins import plugin


class OnlineStore(Protocol):
    """Rows by (table, key). Raises StorageError where it does not answer."""

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows of `keys`, None for those that are not there; what was swapped before is seen."""

    def swap(
        self, table: str, keys: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]
    ) -> list[int]:
        """Replace each row that is still as `before` says by `after`; None stands for no row.

        Each key is replaced atomically, by itself, and for good when this returns; keys are distinct. Returns the
        places of those that another writer changed in between, for which nothing was written.
        """

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
