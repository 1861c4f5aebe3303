"""Checkpoints: how far a fit has come, complete or absent, so that a killed one goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from carrara.core.errors import StorageError


class Checkpoint(Protocol):
    """One place for the state of one fit."""

    def read(self) -> bytes | None:
        """What was written last, if anything."""

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


class FileCheckpoint:
    """A file that is replaced by a rename; where that fails, the one before stays."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StorageError(
                f"the checkpoint {self._path} could not be written: {error}",
                hint="The one before it is still there; train again to go on from it.",
            ) from error

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)
