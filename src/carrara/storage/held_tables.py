"""States of Delta tables that were opened before: of what is there by now only the commits that came since are read.

To open a table anew takes longer than to append to it: a hundred commits since its last checkpoint are read one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MOST = 8

Commit = tuple[int, int, int] | None
"""What tells the file of one commit from another in its place."""


class HeldTables:
    """Lends the newest state of tables, each to one caller at a time. Thread-safe."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[DeltaTable, Commit]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def newest(self, path: Path) -> Iterator[DeltaTable]:
        """The newest state of the table in a folder, to read it and to commit through it; after an error it is not
        held."""
        from deltalake import DeltaTable

        table = self._known(path) or DeltaTable(str(path))
        yield table
        with self._lock:
            self._held.pop(path, None)
            self._held[path] = table, _commit(path, table.version())
            if len(self._held) > _MOST:
                del self._held[next(iter(self._held))]

    def _known(self, path: Path) -> DeltaTable | None:
        """The state that is held, brought up to date; None where there is none, or the table is another one by now."""
        with self._lock:
            table, commit = self._held.pop(path, (None, None))
        if table is None or commit is None or commit != _commit(path, table.version()):
            return None
        table.update_incremental()
        return table


def _commit(path: Path, version: int) -> Commit:
    try:
        found = (path / "_delta_log" / f"{version:020}.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
