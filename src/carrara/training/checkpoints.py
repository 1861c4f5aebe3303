"""Checkpoints: how far a fit has come, complete or absent, so that a killed one goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from carrara.core.digests import digest_bytes


class Checkpoint(Protocol):
    """One place for the state of one fit."""

    def read(self) -> bytes | None:
        """What was written last and is whole, if anything."""

    def write(self, data: bytes) -> None:
        """Replace it, whole or not at all."""

    def clear(self) -> None: ...


class NoCheckpoint:
    """For fits that are too short to be gone on with."""

    def read(self) -> bytes | None:
        return None

    def write(self, data: bytes) -> None:
        pass

    def clear(self) -> None:
        pass


@dataclass(frozen=True)
class Held(NoCheckpoint):
    """A state in memory, that a fit goes on from."""

    data: bytes | None

    def read(self) -> bytes | None:
        return self.data


@dataclass(frozen=True)
class ReadOnly(NoCheckpoint):
    """Another checkpoint, which somebody else writes."""

    checkpoint: Checkpoint

    def read(self) -> bytes | None:
        return self.checkpoint.read()


class FileCheckpoint:
    """A file that is replaced by a rename, with its digest, and the one before it.

    A file that is not what was written is passed over for the one before. Where there is no room for a new one, the
    last one stays, and the fit goes on. `notes` tells of both.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._former = path, path.with_name(f"{path.name}.former")
        self._damaged: list[str] = []
        self._failed, self._why = 0, ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        if not self._failed:
            return tuple(self._damaged)
        said = (
            f"{self._failed} checkpoints could not be written ({self._why}): a killed fit would go on from before them"
        )
        return (*self._damaged, said)

    def read(self) -> bytes | None:
        for path in (self._path, self._former):
            try:
                digest, _, data = path.read_bytes().partition(b"\n")
            except (FileNotFoundError, NotADirectoryError):
                continue
            if digest.decode(errors="replace") == digest_bytes(data):
                return data
            self._damaged.append(f"the checkpoint {path.name[:12]}… was damaged, and the one before it taken")
        return None

    def write(self, data: bytes) -> None:
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(digest_bytes(data).encode() + b"\n")
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if self._path.exists():
                os.replace(self._path, self._former)
            os.replace(partial, self._path)
        except OSError as error:
            self._failed, self._why = self._failed + 1, error.strerror or str(error)
            _remove(partial)

    def clear(self) -> None:
        for path in (self._path, self._former):
            _remove(path)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
