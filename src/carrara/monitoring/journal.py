"""The journal: what is on its way to the lake, in append-only files on the local disk that outlive the process.

A journal is a folder with segment files, a lock that its process holds while it lives, and two counters in shared
memory: how many predictions were taken, and how many are settled (written, left out, or dropped and counted). After a
`kill -9` the kernel still has both: whoever finds the folder unlocked ships the segments and knows what is lost.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from carrara.core.errors import StorageError
from carrara.core.identity import new_id

_MAGIC = b"CARRLOG1"
_HEADER = struct.Struct("<II")
_COUNTS = struct.Struct("<QQ")
_MOST_SEGMENT_BYTES = 64 << 20
MOST_BYTES = 2 << 30
"""How much a journal may hold while the lake is away; what comes then is dropped and counted."""


class JournalRecord(msgspec.Struct, array_like=True):
    """Rows of one table as an Arrow IPC stream."""

    table: str
    rows: int
    data: bytes
    settled: int = 0
    """How many predictions of the process are settled once this is written."""


class Journal:
    """The journal of this process; one thread appends, any thread counts."""

    def __init__(self, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
        name = new_id()
        made = root / f".{name}"
        made.mkdir(parents=True)
        self._lock = _held(made)
        self._counts = _shared_counts(made)
        # Seen by others only when it is locked: they take what is unlocked for abandoned.
        self.folder = made.rename(root / name)
        self._counting, self._writing = threading.Lock(), threading.Lock()
        self._most_bytes, self._number = most_bytes, 0
        self._segment: Path | None = None
        self._file, self._size = -1, 0
        self.taken = self.settled = 0

    def take(self, rows: int) -> None:
        """Count predictions that were handed over, before anything else is done with them."""
        with self._counting:
            self.taken += rows
            _COUNTS.pack_into(self._counts, 0, self.taken, self.settled)

    def settle(self, rows: int) -> None:
        """Count predictions that can no longer be lost unseen."""
        with self._counting:
            self.settled += rows
            _COUNTS.pack_into(self._counts, 0, self.taken, self.settled)

    def append(self, table: str, rows: int, data: bytes, *, of: int) -> None:
        """Write `rows` rows that stand for `of` predictions, whole or not at all, and settle these.

        Raises StorageError when the disk does not take it, or the journal is full.
        """
        if self.held_bytes() > self._most_bytes:
            raise StorageError(f"the journal has {self._most_bytes:,} bytes that the lake did not take")
        payload = msgspec.msgpack.encode(JournalRecord(table, rows, data, self.settled + of))
        with self._writing:
            try:
                self._write(_HEADER.pack(len(payload), zlib.crc32(payload)) + payload)
            except OSError as error:
                raise StorageError(f"the journal {self.folder} could not be written: {error}") from error
        self.settle(of)

    def roll(self) -> None:
        """End the segment that is being written, so that it can be shipped."""
        with self._writing:
            self._end()

    def held_bytes(self) -> int:
        """How much lies here, not yet in the lake."""
        return sum(_size(path) for path in self.folder.glob("*.segment*"))

    def close(self) -> None:
        """End it; the folder goes when everything in it was shipped."""
        self.roll()
        self._counts.close()
        os.close(self._lock)

    def _write(self, data: bytes) -> None:
        if self._segment is None:
            self._number += 1
            path = self.folder / f"{self._number:08}.segment.open"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._segment, self._size = path, 0
            data = _MAGIC + data
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            # What a failed write or sync has left behind is not known: the segment ends before it.
            os.ftruncate(self._file, self._size)
            self._end()
            raise
        self._size += len(data)
        if self._size > _MOST_SEGMENT_BYTES:
            self._end()

    def _end(self) -> None:
        if self._segment is None:
            return
        os.close(self._file)
        self._segment.rename(self._segment.with_suffix(""))
        self._segment = None


class FoundJournal:
    """The journal of a process that is no more, held by the one that found it."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder, self._lock = folder, lock
        for path in folder.glob("*.segment.open"):
            path.rename(path.with_suffix(""))

    def lost(self) -> int:
        """How many predictions the process had taken and not yet written."""
        taken, settled = _COUNTS.unpack((self.folder / "counts").read_bytes())
        written = [record.settled for path in segments(self.folder)[-1:] for record in read_segment(path)]
        return max(int(taken) - max([int(settled), *written]), 0)

    def forget(self) -> None:
        """Remove the folder, when all of its segments were shipped."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def close(self) -> None:
        os.close(self._lock)


def segments(folder: Path) -> list[Path]:
    """The segments that can be shipped, oldest first."""
    return sorted(folder.glob("*.segment"))


def number_of(segment: Path) -> int:
    return int(segment.name.partition(".")[0])


def read_segment(path: Path) -> Iterator[JournalRecord]:
    """The whole records of a segment, up to the first that a crash tore or a disk damaged."""
    data = path.read_bytes()
    place = len(_MAGIC) if data.startswith(_MAGIC) else len(data)
    while place + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, place)
        payload = data[place + _HEADER.size : place + _HEADER.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield msgspec.msgpack.decode(payload, type=JournalRecord)
        place += _HEADER.size + length


def abandoned(root: Path) -> Iterator[FoundJournal]:
    """The journals that no living process holds; each is held here until it is closed."""
    for folder in sorted(root.glob("[!.]*")):
        try:
            lock = _held(folder)
        except OSError:
            continue  # Another process lives, or has found it as well.
        yield FoundJournal(folder, lock)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # shipped, or renamed, at this moment
        return 0


def _held(folder: Path) -> int:
    """An exclusive lock that ends with the process; OSError where another one has it."""
    import fcntl

    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _shared_counts(folder: Path) -> mmap.mmap:
    with (folder / "counts").open("w+b") as file:
        file.write(bytes(_COUNTS.size))
        file.flush()
        return mmap.mmap(file.fileno(), _COUNTS.size)
