"""A model version as one file: a zip of its files with their digests, to carry to another workspace.

    carrara-model.json     what is in it: the model, where it comes from, each file's SHA-256 and size
    files/…                the files as they were registered

It is opened as if an enemy had made it: only the names that the index lists, no larger than it says, nothing that leads
elsewhere, nothing that is not what its digest says.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from carrara.core.digests import digest_bytes
from carrara.core.errors import CorruptArtifact, DataError, StorageError
from carrara.core.identity import new_id
from carrara.core.names import check_name
from carrara.metadata.model_values import SAID, TAG
from carrara.models.record import check_record_format
from carrara.models.registry import (
    DEFINITIONS,
    LEARNED,
    RECORD,
    SERVABLE,
    ModelVersion,
    read_record,
    register_files,
)
from carrara.storage.stores import Stores

INDEX = "carrara-model.json"
FILES = "files/"
FORM = 1

MOST_FILES = 10_000
MOST_BYTES = 16 << 30
_MOST_INDEX_BYTES = 16 << 20
_WHEN = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class _Entry:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class _Index:
    """What a bundle says of itself."""

    form: int
    model: str
    version: int
    format: str
    files: dict[str, _Entry]
    said: dict[str, Any] = field(default_factory=dict)


def export_version(stores: Stores, version: ModelVersion, target: Path) -> Path:
    """Write a version as one file, complete or not at all; equal versions make equal files to the byte."""
    manifest = stores.artifacts.manifest(version.manifest)
    record = read_record(stores, version)
    index = {
        "form": FORM,
        "model": version.model,
        "version": version.version,
        "format": version.format,
        "files": manifest,
        "said": {name: record[name] for name in ("owner", "description", "tags")},
    }
    partial = target.with_name(f"{target.name}.{new_id()[:8]}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as bundle:
            _add(bundle, INDEX, msgspec.json.encode(index))
            for name, entry in sorted(manifest.items()):
                _add(bundle, FILES + name, stores.artifacts.get(str(entry["sha256"]), name=name))
        os.replace(partial, target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return target


def import_version(stores: Stores, source: Path, name: str | None = None) -> ModelVersion:
    """Register what a bundle holds as the next version of `name`, by default the model's own name.

    CorruptArtifact names a file that is not what its digest says, DataError what is no bundle. The same bundle twice
    is one version. Nothing in it is run now; its definitions are Python, and run when the version is used.
    """
    index, files = read_bundle(source)
    record = _record(files, str(source))
    model = check_name("model", name or index.model)
    if model != record["model"]:
        record = {**record, "model": model, "declared_as": record.get("declared_as", record["model"])}
        files = {**files, RECORD: msgspec.json.encode(record)}
    digest = digest_bytes(msgspec.json.encode({n: [e.sha256, e.bytes] for n, e in sorted(index.files.items())}))
    return register_files(
        stores,
        record,
        files,
        format=index.format,
        run_id=new_id(),
        sources=[f"file:{source.name}"],
        key=digest_bytes(f"import {model} {digest}".encode()),
        said=_said(index.said),
    )


def _said(said: Mapping[str, Any]) -> dict[str, str]:
    """What people said of it elsewhere; what they decided there is not decided here."""
    found = {name: said[name] for name in SAID if isinstance(said.get(name), str) and said[name]}
    tags = said.get("tags")
    for name, text in tags.items() if isinstance(tags, dict) else ():
        if isinstance(text, str):
            found[TAG + check_name("tag", name)] = text
    return found


def read_bundle(source: Path) -> tuple[_Index, dict[str, bytes]]:
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


def _index(bundle: zipfile.ZipFile, source: Path) -> _Index:
    try:
        found = bundle.getinfo(INDEX)
    except KeyError:
        raise DataError(
            f"{source} is no bundle of a model: it has no {INDEX}", hint="carrara model export writes one."
        ) from None
    data = _read(bundle, found, _MOST_INDEX_BYTES)
    try:
        index = msgspec.json.decode(data, type=_Index)
    except msgspec.MsgspecError as error:
        raise DataError(f"the index of {source} cannot be read: {error}") from None
    if index.form > FORM:
        raise StorageError(
            f"{source} was written by a newer Carrara: its form is {index.form}", hint="pip install -U carrara"
        )
    return index


def _check_names(bundle: zipfile.ZipFile, index: _Index, source: Path) -> None:
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
    inside = name == RECORD or name.startswith((SERVABLE, LEARNED, DEFINITIONS))
    plain = name.isprintable() and "\\" not in name and ":" not in name and len(name) <= 500
    if path.is_absolute() or ".." in path.parts or str(path) != name or not inside or not plain:
        raise DataError(f"{source} holds a file with the name {name[:200]!a}, which no version has")


def _file(bundle: zipfile.ZipFile, name: str, entry: _Entry) -> bytes:
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


def _record(files: Mapping[str, bytes], whose: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = msgspec.json.decode(files[RECORD])
        check_record_format(record, whose)
        record["metrics"]["test"], record["gates"]["passed"], record["datasets"], record["configuration"]
    except (KeyError, TypeError, msgspec.MsgspecError):
        raise DataError(f"the record in {whose} is not one of a model version") from None
    return record


def _add(bundle: zipfile.ZipFile, name: str, data: bytes) -> None:
    # A time of its own in each archive would make equal versions different files.
    info = zipfile.ZipInfo(name, _WHEN)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
    bundle.writestr(info, data)
