"""Where the numbered versions of a model lie: a local folder, or an address that fsspec opens (s3://, gs://, ...)."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from carrara.core.errors import ConfigurationError
from carrara.core.plugins import require


class VersionSource(Protocol):
    """Numbered versions, of which one is there only when it is complete."""

    def versions(self) -> list[int]:
        """The complete versions; OSError where they cannot be listed."""

    def opened(self, version: int) -> Any:
        """A context manager that gives a local folder with a version's files; OSError where it is gone."""


def version_source(base_path: str, settle_seconds: float) -> VersionSource:
    """The versions under a path or an address; ConfigurationError where there is no such folder."""
    if "://" in base_path and not base_path.startswith("file://"):
        return RemoteVersions(base_path)
    folder = Path(base_path.removeprefix("file://"))
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder '{folder}' to serve from",
            hint="Give --model_base_path the folder that holds 1/, 2/, ...",
        )
    return LocalVersions(folder, settle_seconds)


class LocalVersions:
    """Folders of numbers. One that is being copied is not there until nothing in it changes for `settle_seconds`."""

    def __init__(self, folder: Path, settle_seconds: float) -> None:
        self._folder, self._settle_seconds = folder, settle_seconds
        self._complete: set[int] = set()

    def versions(self) -> list[int]:
        found = {int(one.name) for one in self._folder.iterdir() if is_version(one.name) and one.is_dir()}
        self._complete &= found
        self._complete |= {version for version in found - self._complete if self._is_settled(version)}
        return sorted(self._complete)

    @contextmanager
    def opened(self, version: int) -> Iterator[Path]:
        yield self._path(version)

    def _path(self, version: int) -> Path:
        # 1 may be written as 001.
        return next(one for one in self._folder.iterdir() if is_version(one.name) and int(one.name) == version)

    def _is_settled(self, version: int) -> bool:
        """A rename does not touch the files in a folder: what is moved into place whole is there at once."""
        changed = [
            os.stat(os.path.join(parent, name)).st_ctime
            for parent, _, names in os.walk(self._path(version))
            for name in names
        ]
        return bool(changed) and time.time() - max(changed) >= self._settle_seconds


class RemoteVersions:
    """Versions in an object store, copied to a local folder to be opened.

    One that appears later is complete when it looks the same twice.
    """

    def __init__(self, url: str) -> None:
        fsspec = require("fsspec", extra="remote", purpose=f"models under {url}")
        try:
            self._files, self._root = fsspec.core.url_to_fs(url.rstrip("/"))
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"models under {url} cannot be read: {error}") from error
        self._seen: dict[int, Any] = {}
        self._complete: set[int] | None = None

    def versions(self) -> list[int]:
        try:
            self._files.invalidate_cache()
            looks = {version: self._look(path) for version, path in self._found().items()}
        except OSError:
            raise
        except Exception as error:  # a library's own, which says that the store is away
            raise OSError(f"{type(error).__name__}: {error}") from error
        if self._complete is None:
            self._complete = {version for version, look in looks.items() if look}
        self._complete = {
            version
            for version, look in looks.items()
            if version in self._complete or (look and self._seen.get(version) == look)
        }
        self._seen = looks
        return sorted(self._complete)

    @contextmanager
    def opened(self, version: int) -> Iterator[Path]:
        copied = Path(tempfile.mkdtemp(prefix="carrara-version-"))
        try:
            path = self._found()[version]
            for name in self._files.find(path):
                target = copied / name[len(path) :].lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(name, str(target))
            yield copied
        finally:
            shutil.rmtree(copied, ignore_errors=True)

    def _found(self) -> dict[int, str]:
        entries = self._files.ls(self._root, detail=True)
        named = {entry["name"].rstrip("/"): entry for entry in entries if entry["type"] == "directory"}
        return {int(name.rsplit("/", 1)[-1]): name for name in named if is_version(name.rsplit("/", 1)[-1])}

    def _look(self, path: str) -> Any:
        found = self._files.find(path, detail=True)
        return sorted(
            (name, info.get("size"), str(info.get("LastModified", info.get("mtime")))) for name, info in found.items()
        )


def is_version(name: str) -> bool:
    """Whether a folder's name is a version's number.

    >>> is_version("12"), is_version("1_0"), is_version("²"), is_version("making-3")
    (True, False, False, False)
    """
    return name.isascii() and name.isdecimal() and len(name) < 19
