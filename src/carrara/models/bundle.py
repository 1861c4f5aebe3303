"""A model version as one file: a zip of its files with their digests, to carry to another workspace."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.digests import digest_bytes
from carrara.core.errors import DataError, StorageError
from carrara.core.identity import new_id
from carrara.core.names import check_name
from carrara.metadata.model_values import SAID, TAG
from carrara.models.bundle_file import FILES, FORM, INDEX, read_bundle
from carrara.models.record import check_record_format
from carrara.models.registry import ModelVersion, read_record, register_files
from carrara.models.version_files import RECORD
from carrara.storage.stores import Stores

_WHEN = (1980, 1, 1, 0, 0, 0)


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
