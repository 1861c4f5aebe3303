"""Artifacts: files addressed by the SHA-256 of their bytes, and folders of them by a manifest."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from carrara.core.digests import digest_bytes, digest_file
from carrara.core.errors import ConfigurationError, CorruptArtifact, StorageError
from carrara.core.failpoints import reach
from carrara.core.locks import locked
from carrara.storage.folders import holds_anything

_LOCK = ".lock"
_TEMPORARY = "tmp"
_MOST_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file that lies in the store: `digest` is empty for what a killed writer has left."""

    path: Path
    digest: str
    bytes: int
    touched_at: float


class ArtifactStore:
    """Immutable bytes by digest, below one folder; what is read is verified first.

    While that is away, as `known` says that there are some and there is nothing, no other store is made in its place.
    """

    def __init__(self, address: str, known: Callable[[], bool] = lambda: False) -> None:
        if "://" in address:
            raise ConfigurationError(
                f"artifacts cannot be at '{address}'",
                hint='This release keeps them in a local folder: artifacts = "PATH".',
            )
        self._root, self._known = Path(address), known

    def require_there(self) -> None:
        """StorageError where the store is away. A folder where something would be mounted is empty."""
        if not holds_anything(self._root) and self._known():
            raise StorageError(
                f"the artifact store is away: there is nothing at {self._root}, and artifacts of it are known",
                hint="Mount it, or set artifacts in [stores] of carrara.toml to where it is now.",
            )

    def kept(self) -> AbstractContextManager[None]:
        """Nothing is collected in this block: what is put in it is still there when its digest is written down."""
        self.require_there()
        return locked(self._root / _LOCK, alone=False)

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; complete on disk, or absent."""
        try:
            with self.kept():
                return self._put(data)
        except OSError as error:
            raise StorageError(
                f"an artifact could not be written to {self._root}: {error}",
                hint="Look at its disk and its permissions; nothing was registered.",
            ) from error

    def _put(self, data: bytes) -> str:
        digest = digest_bytes(data)
        target = self._path(digest)
        if target.exists() and digest_file(target) == digest:
            os.utime(target)  # it is wanted again: garbage collection looks at when it was last
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                half = len(data) // 2
                file.write(memoryview(data)[:half])
                reach("artifacts.mid-file")
                file.write(memoryview(data)[half:])
                file.flush()
                # An error of fsync may be reported once and then forgotten: this write is over, whatever comes after.
                os.fsync(file.fileno())
            os.chmod(temporary, 0o444)  # sealed: what was judged is what runs
            reach("artifacts.before-rename")
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        return digest

    def get(self, digest: str, *, name: str = "") -> bytes:
        """The bytes of a digest; CorruptArtifact when they are not what was stored."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            self.require_there()
            raise self._missing(name or digest) from None
        except OSError as error:
            raise StorageError(f"{name or digest} cannot be read from the artifact store: {error}") from error
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
                raise self._missing(name)
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

    def files(self) -> Iterator[StoredFile]:
        """Everything that lies in the store, also what killed writers have left."""
        for folder in sorted(path for path in self._root.glob("??") if path.is_dir()):
            for path in sorted(folder.iterdir()):
                stat = path.stat()
                digest = "" if path.name.startswith(_TEMPORARY) else folder.name + path.name
                yield StoredFile(path, digest, stat.st_size, stat.st_mtime)

    def named_by(self, digests: Iterable[str]) -> set[str]:
        """These digests, and those of the files that manifests among them name."""
        found = set()
        for digest in digests:
            found.add(digest)
            path = self._path(digest)
            if not path.is_file() or path.stat().st_size > _MOST_MANIFEST_BYTES:
                continue
            found |= _named_in(path.read_bytes())
        return found

    def collect(self, files: Iterable[StoredFile], *, before: float) -> list[StoredFile]:
        """Delete files that nobody has touched since `before` (a time of the file system); those that were deleted.

        To be called while nothing is being written (`alone`).
        """
        gone = []
        for file in files:
            try:
                if file.path.stat().st_mtime < before:
                    file.path.unlink()
                    gone.append(file)
            except FileNotFoundError:
                continue
        return gone

    def alone(self) -> AbstractContextManager[None]:
        """Nobody puts anything in this block."""
        return locked(self._root / _LOCK, alone=True)

    def clock(self) -> float:
        """The time that files of this store are touched by."""
        return time.time()

    def _missing(self, name: str) -> StorageError:
        return StorageError(
            f"artifact '{name}' is missing from {self._root}",
            hint="It was deleted after it was registered; restore it from a backup or train again.",
        )

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]


def _named_in(data: bytes) -> set[str]:
    """The digests in a manifest; none in bytes that are not one."""
    if not data.startswith(b'{"'):
        return set()
    try:
        manifest = msgspec.json.decode(data, type=dict[str, dict[str, msgspec.Raw]])
        return {msgspec.json.decode(entry["sha256"], type=str) for entry in manifest.values() if "sha256" in entry}
    except msgspec.MsgspecError:
        return set()


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder outlive a loss of power, where folders can be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
