"""Push: a version that may live, as the next folder of a base path that a model server polls."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carrara.core.errors import CarraraError, CheckFailed, StorageError
from carrara.evaluation.serving_gates import MOST_WARM_UP
from carrara.metadata.audit import record
from carrara.metadata.lineage import Edge, add_edges, folder_address
from carrara.models.approval import blocking
from carrara.models.registry import KIND, ModelVersion, read_record, warm_up_of
from carrara.models.runtimes.base import OF_FOLDERS, TRANSFORMS
from carrara.models.runtimes.onnx import folder_feed
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import SERVABLE
from carrara.pipelines.scoring import recorded_model, test_rows
from carrara.serving.version_sources import is_version
from carrara.serving.warm_up import WARM_UP_FILE, drawn, inputs_of, recorded
from carrara.storage.stores import Stores


def push(stores: Stores, version: ModelVersion, base: Path, *, warm_up: int = 0) -> Path:
    """Write a version's servable files to BASE/<seconds since 1970>, whole or not at all, and return that folder.

    With `warm_up`, requests for so many of its test rows come along, which a server runs before the version serves;
    without it those that the version was registered with, if it was.
    CheckFailed, with the reasons, for a version that may not be deployed: a server of `base` never sees it. Where it
    was pushed to is in its lineage and in the audit log.
    """
    reasons = blocking(stores, version)
    if reasons:
        raise CheckFailed(f"{version} is blocked", reasons, hint=f"carrara model report {version}")
    files = stores.artifacts.manifest(version.manifest)
    if version.format not in OF_FOLDERS or f"{SERVABLE}{TRANSFORMS}" in files:
        raise CarraraError(
            f"{version} is in the format {version.format}, which servers of folders do not open", hint="carrara deploy"
        )
    asked = _asked(stores, version, min(warm_up, MOST_WARM_UP)) if warm_up else _kept(stores, version)
    try:
        base.mkdir(parents=True, exist_ok=True)
        # A server takes a folder whose name is a number: it gets that name when all is in it.
        made = Path(tempfile.mkdtemp(prefix=".pushing-", dir=base))
    except OSError as error:
        raise StorageError(f"{base} cannot be written: {error}") from error
    try:
        stores.artifacts.unpack(version.manifest, made / "all")
        folder = made / "all" / SERVABLE.rstrip("/")
        if asked:
            feed = folder_feed(folder, _signature(read_record(stores, version)))
            (folder / WARM_UP_FILE).parent.mkdir(parents=True)
            (folder / WARM_UP_FILE).write_bytes(recorded(version.model, map(feed, asked)))
        with stores.metadata.begin() as connection:
            target = _named(folder, base)
            add_edges(connection, [Edge(f"{KIND}:{version}", folder_address(target), "")])
            record(connection, "push", f"{KIND}:{version}", folder=str(target.resolve()))
        return target
    except OSError as error:
        raise StorageError(f"{base} cannot be written: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _asked(stores: Stores, version: ModelVersion, count: int) -> list[dict[str, Any]]:
    """Requests for test rows, evenly drawn, by features."""
    told, (model, _) = read_record(stores, version), recorded_model(stores, version)
    return drawn(_signature(told), test_rows(stores, version, model, told), count)


def _signature(told: Mapping[str, Any]) -> Signature:
    return Signature.from_dict(told["signature"][DEFAULT_SIGNATURE])


def _kept(stores: Stores, version: ModelVersion) -> list[dict[str, Any]]:
    """The requests that a version was registered with."""
    return list(inputs_of(warm_up_of(stores, version)))


def _named(files: Path, base: Path) -> Path:
    """Give a folder the next free number: two pushes of one second follow one another."""
    newest = max((int(path.name) for path in base.iterdir() if is_version(path.name)), default=0)
    number = max(int(time.time()), newest + 1)
    while True:
        target = base / str(number)
        try:
            target.mkdir()
            os.replace(files, target)
            return target
        except FileExistsError:
            number += 1
