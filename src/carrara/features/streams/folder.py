"""A folder into which files are put: each is read once, whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.core.errors import CarraraError
from carrara.data.sources.files import read_file
from carrara.features.streams.base import Batch, Message

_POLL_SECONDS = 0.2
_UNFINISHED = (".tmp", ".part", ".crdownload")
_LINES = (".jsonl", ".ndjson")
_DONE = 1


@dataclass(frozen=True)
class Folder:
    """The files of a folder below the workspace, by name: JSON lines, CSV, Parquet, Arrow, also compressed.

    A file is to be complete when it appears, as one that is renamed is; names that begin with a dot or end in `.tmp`
    or `.part` are left alone. One that was read may be removed, and its name is not to come again.

    >>> Folder("incoming", pattern="*.jsonl").describe()
    {'kind': 'folder', 'path': 'incoming', 'pattern': '*.jsonl'}
    """

    path: str
    pattern: str = "*"

    def describe(self) -> dict[str, Any]:
        return {"kind": "folder", "path": self.path, "pattern": self.pattern}

    @contextmanager
    def open(self, root: Path, position: Callable[[str], int | None]) -> Iterator[_FolderReader]:
        yield _FolderReader(root / self.path, self.pattern, position)


class _FolderReader:
    def __init__(self, folder: Path, pattern: str, position: Callable[[str], int | None]) -> None:
        self._folder, self._pattern, self._position = folder, pattern, position
        self._done: set[str] = set()

    def next(self, wait_seconds: float) -> Batch:
        until = time.monotonic() + wait_seconds
        while True:
            for path in sorted(self._folder.glob(self._pattern)):
                if path.name not in self._done and self._is_new(path):
                    self._done.add(path.name)
                    return Batch(_messages(path), {_name(path): (None, _DONE)})
            left = until - time.monotonic()
            if left <= 0:
                return Batch((), {})
            time.sleep(min(_POLL_SECONDS, left))

    def at_end(self) -> bool:
        return not any(path.name not in self._done and self._is_new(path) for path in self._folder.glob(self._pattern))

    def _is_new(self, path: Path) -> bool:
        if not path.is_file() or path.name.startswith(".") or path.suffix in _UNFINISHED:
            return False
        if self._position(_name(path)) is not None:
            self._done.add(path.name)
            return False
        return True


def _name(path: Path) -> str:
    return f"file:{path.name}"


def _messages(path: Path) -> list[Message]:
    """Each row of a file as a message; a file that cannot be read is one message, which is no row."""
    try:
        if path.suffix in _LINES:
            lines = path.read_bytes().splitlines()
        else:
            lines = read_file(str(path), path.parent).write_ndjson().encode().splitlines()
    except (CarraraError, OSError) as error:
        lines = [str(error).encode()]
    return [Message(line, f"{path.name}@{number}") for number, line in enumerate(lines, start=1) if line.strip()]
