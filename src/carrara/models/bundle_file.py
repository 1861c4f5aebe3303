"""The file of a bundle: what is in it, and how it is read.

    carrara-model.json     the model, where it comes from, each file's SHA-256 and size
    files/…                the files as they were registered

It is opened as if an enemy had made it: only the names that the index lists, no larger than it says, nothing that leads
elsewhere, nothing that is not what its digest says.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from carrara.core.digests import digest_bytes
from carrara.core.errors import CorruptArtifact, DataError, StorageError
from carrara.models.version_files import DEFINITIONS, LEARNED, RECORD, SERVABLE, WARM_UP

INDEX = "carrara-model.json"
FILES = "files/"
FORM = 1

MOST_FILES = 10_000
MOST_BYTES = 16 << 30
_MOST_INDEX_BYTES = 16 << 20


@dataclass(frozen=True)
class Entry:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class BundleIndex:
    """What a bundle says of itself."""

    form: int
    model: str
    version: int
    format: str
    files: dict[str, Entry]
    said: dict[str, Any] = field(default_factory=dict)


def read_bundle(source: Path) -> tuple[BundleIndex, dict[str, bytes]]:
    """The index and the files of a bundle, all checked."""
    try:
        with zipfile.ZipFile(source) as bundle:
            if len(bundle.infolist()) > MOST_FILES:
                raise DataError(f"{source} holds more than {MOST_FILES:,} files")
            index = _index(bundle, source)
            _check_names(bundle, index, source)
            return index, {name: _file(bundle, name, entry) for name, entry in index.files.items()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{source} is no bundle of a model, or a damaged one: {error}") from error
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error}") from error


def _index(bundle: zipfile.ZipFile, source: Path) -> BundleIndex:
    try:
        found = bundle.getinfo(INDEX)
    except KeyError:
        raise DataError(
            f"{source} is no bundle of a model: it has no {INDEX}", hint="carrara model export writes one."
        ) from None
    data = _read(bundle, found, _MOST_INDEX_BYTES)
    try:
        index = msgspec.json.decode(data, type=BundleIndex)
    except msgspec.MsgspecError as error:
        raise DataError(f"the index of {source} cannot be read: {error}") from None
    if index.form > FORM:
        raise StorageError(
            f"{source} was written by a newer Carrara: its form is {index.form}", hint="pip install -U carrara"
        )
    return index


def _check_names(bundle: zipfile.ZipFile, index: BundleIndex, source: Path) -> None:
    """Exactly the files that the index lists, each with a name that leads into the version, and not too large."""
    if len(index.files) > MOST_FILES or sum(entry.bytes for entry in index.files.values()) > MOST_BYTES:
        raise DataError(f"{source} says it holds more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes")
    there = Counter(found.filename for found in bundle.infolist())
    expected = {INDEX, *(FILES + name for name in index.files)}
    for name in there.keys() | expected:
        if name not in expected:
            raise DataError(f"{source} holds {name[:200]!a}, which its index does not list")
        if there[name] != 1:
            raise DataError(f"{source} holds {name[:200]!a} {there[name]} times, and not once")
    folded = Counter(name.casefold() for name in index.files)
    for name in index.files:
        _check_path(name, source)
        if folded[name.casefold()] > 1:
            raise DataError(f"{source} holds two files that differ in case alone: {name[:200]!a}")
    for found in bundle.infolist():
        if found.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise DataError(f"{source} holds {found.filename[:200]!a}, which is a link or no file")


def _check_path(name: str, source: Path) -> None:
    path = PurePosixPath(name)
    inside = name in (RECORD, WARM_UP) or name.startswith((SERVABLE, LEARNED, DEFINITIONS))
    plain = name.isprintable() and "\\" not in name and ":" not in name and len(name) <= 500
    if path.is_absolute() or ".." in path.parts or str(path) != name or not inside or not plain:
        raise DataError(f"{source} holds a file with the name {name[:200]!a}, which no version has")


def _file(bundle: zipfile.ZipFile, name: str, entry: Entry) -> bytes:
    data = _read(bundle, bundle.getinfo(FILES + name), entry.bytes)
    if (found := digest_bytes(data)) != entry.sha256:
        raise CorruptArtifact(name, entry.sha256, found)
    return data


def _read(bundle: zipfile.ZipFile, found: zipfile.ZipInfo, most: int) -> bytes:
    """A file's bytes, at most so many, whatever the archive says of its size."""
    try:
        with bundle.open(found) as file:
            data = file.read(most + 1)
    except (zipfile.BadZipFile, EOFError, ValueError, zlib.error) as error:
        raise CorruptArtifact(found.filename.removeprefix(FILES), f"{found.CRC:08x}", "unreadable") from error
    if len(data) > most:
        raise DataError(f"'{found.filename[:200]}' is larger than the {most:,} bytes that its index says")
    return data
