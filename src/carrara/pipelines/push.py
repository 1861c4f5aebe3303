"""Push: a version that may live, as the next folder of a base path that a model server polls."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from carrara.core.errors import CarraraError, CheckFailed, StorageError
from carrara.models.approval import blocking
from carrara.models.registry import SERVABLE, ModelVersion
from carrara.storage.stores import Stores


def push(stores: Stores, version: ModelVersion, base: Path) -> Path:
    """Write a version's servable files to BASE/<seconds since 1970>, whole or not at all, and return that folder.

    CheckFailed, with the reasons, for a version that may not be deployed: a server of `base` never sees it.
    """
    reasons = blocking(stores, version)
    if reasons:
        raise CheckFailed(f"{version} is blocked", reasons, hint=f"carrara model report {version}")
    if version.format != "onnx":
        raise CarraraError(
            f"{version} is in the format {version.format}, which servers of folders do not open", hint="carrara deploy"
        )
    try:
        base.mkdir(parents=True, exist_ok=True)
        # A server takes a folder whose name is a number: it gets that name when all is in it.
        partial = Path(tempfile.mkdtemp(prefix=".pushing-", dir=base))
    except OSError as error:
        raise StorageError(f"{base} cannot be written: {error}") from error
    try:
        stores.artifacts.unpack(version.manifest, partial / "all")
        files = partial / "all" / SERVABLE.rstrip("/")
        return _named(files, base)
    except OSError as error:
        raise StorageError(f"{base} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _named(files: Path, base: Path) -> Path:
    """Give a folder the next free number: two pushes of one second follow one another."""
    newest = max((int(path.name) for path in base.iterdir() if path.name.isdecimal()), default=0)
    number = max(int(time.time()), newest + 1)
    while True:
        target = base / str(number)
        try:
            target.mkdir()
            os.replace(files, target)
            return target
        except FileExistsError:
            number += 1
