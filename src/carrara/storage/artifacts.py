"""Artifacts: files addressed by the SHA-256 of their bytes, and folders of them by a manifest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from carrara.core.digests import digest_bytes, digest_file
from carrara.core.errors import ConfigurationError, CorruptArtifact, StorageError


class ArtifactStore:
    """Immutable bytes by digest, below one folder; what is read is verified first."""

    def __init__(self, address: str) -> None:
        if "://" in address:
            raise ConfigurationError(
                f"artifacts cannot be at '{address}'",
                hint='This release keeps them in a local folder: artifacts = "PATH".',
            )
        self._root = Path(address)

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; complete on disk, or absent."""
        digest = digest_bytes(data)
        target = self._path(digest)
        if target.exists():
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise StorageError(f"an artifact could not be written to {self._root}: {error}") from error
        return digest

    def get(self, digest: str, *, name: str = "") -> bytes:
        """The bytes of a digest; CorruptArtifact when they are not what was stored."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise StorageError(f"artifact '{name or digest}' is missing from {self._root}") from None
        found = digest_bytes(data)
        if found != digest:
            raise CorruptArtifact(name or digest, digest, found)
        return data

    def put_files(self, files: Mapping[str, bytes]) -> str:
        """Store files with a manifest of their digests, and return the manifest's digest."""
        manifest = {name: {"sha256": self.put(data), "bytes": len(data)} for name, data in sorted(files.items())}
        return self.put(msgspec.json.encode(manifest))

    def manifest(self, digest: str) -> dict[str, dict[str, int | str]]:
        """File names with `sha256` and `bytes`, as `put_files` stored them."""
        found: dict[str, dict[str, int | str]] = msgspec.json.decode(self.get(digest, name="manifest"))
        return found

    def get_files(self, digest: str) -> dict[str, bytes]:
        """All files of a manifest, verified."""
        return {name: self.get(str(entry["sha256"]), name=name) for name, entry in self.manifest(digest).items()}

    def verify(self, digest: str) -> None:
        """Raise CorruptArtifact or StorageError when a file of the manifest is not what was stored."""
        for name, entry in self.manifest(digest).items():
            path = self._path(str(entry["sha256"]))
            if not path.exists():
                raise StorageError(f"artifact '{name}' is missing from {self._root}")
            if (found := digest_file(path)) != entry["sha256"]:
                raise CorruptArtifact(name, str(entry["sha256"]), found)

    def unpack(self, digest: str, folder: Path) -> Path:
        """Write all files of a manifest, verified, below `folder`."""
        root = folder.resolve()
        for name, data in self.get_files(digest).items():
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise StorageError(f"artifact '{name}' would be written outside of {folder}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]
