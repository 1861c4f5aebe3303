"""Push: a version that may live, as the next folder of a base path that a model server polls."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import polars as pl

from carrara.core.errors import CarraraError, CheckFailed, StorageError
from carrara.metadata.audit import record
from carrara.metadata.lineage import Edge, add_edges, folder_address
from carrara.models.approval import blocking
from carrara.models.registry import KIND, ModelVersion, read_record
from carrara.models.runtimes.base import TRANSFORMS
from carrara.models.runtimes.onnx import Feed, OnnxServable, fed, session
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import SERVABLE
from carrara.pipelines.scoring import recorded_model, test_rows
from carrara.serving.version_sources import is_version
from carrara.serving.warm_up import WARM_UP_FILE, recorded
from carrara.storage.stores import Stores

MOST_WARM_UP = 100

_OPENED = ("onnx", "tensorflow")
"""The formats that servers of folders open, where the transforms are inside."""


def push(stores: Stores, version: ModelVersion, base: Path, *, warm_up: int = 0) -> Path:
    """Write a version's servable files to BASE/<seconds since 1970>, whole or not at all, and return that folder.

    With `warm_up`, requests for so many of its test rows come along, which a server runs before the version serves.
    CheckFailed, with the reasons, for a version that may not be deployed: a server of `base` never sees it. Where it
    was pushed to is in its lineage and in the audit log.
    """
    reasons = blocking(stores, version)
    if reasons:
        raise CheckFailed(f"{version} is blocked", reasons, hint=f"carrara model report {version}")
    files = stores.artifacts.manifest(version.manifest)
    if version.format not in _OPENED or f"{SERVABLE}{TRANSFORMS}" in files:
        raise CarraraError(
            f"{version} is in the format {version.format}, which servers of folders do not open", hint="carrara deploy"
        )
    asked = _asked(stores, version, min(warm_up, MOST_WARM_UP)) if warm_up else None
    try:
        base.mkdir(parents=True, exist_ok=True)
        # A server takes a folder whose name is a number: it gets that name when all is in it.
        made = Path(tempfile.mkdtemp(prefix=".pushing-", dir=base))
    except OSError as error:
        raise StorageError(f"{base} cannot be written: {error}") from error
    try:
        stores.artifacts.unpack(version.manifest, made / "all")
        folder = made / "all" / SERVABLE.rstrip("/")
        if asked is not None:
            (folder / WARM_UP_FILE).parent.mkdir(parents=True)
            (folder / WARM_UP_FILE).write_bytes(_requests(version.model, folder / OnnxServable.FILE, *asked))
        with stores.metadata.begin() as connection:
            target = _named(folder, base)
            add_edges(connection, [Edge(f"{KIND}:{version}", folder_address(target), "")])
            record(connection, "push", f"{KIND}:{version}", folder=str(target.resolve()))
        return target
    except OSError as error:
        raise StorageError(f"{base} cannot be written: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _asked(stores: Stores, version: ModelVersion, count: int) -> tuple[Signature, pl.DataFrame]:
    """A version's inputs, and test rows of them, evenly drawn."""
    told, (model, _) = read_record(stores, version), recorded_model(stores, version)
    signature = Signature.from_dict(told["signature"][DEFAULT_SIGNATURE])
    rows = test_rows(stores, version, model, told)
    every = max(rows.height // count, 1)
    return signature, rows.gather_every(every).select([spec.name for spec in signature.inputs]).head(count)


def _requests(model: str, graph: Path, signature: Signature, rows: pl.DataFrame) -> bytes:
    """Each row alone, and all in one, by the names that the graph has itself: a folder's server knows no others. A
    SavedModel has the features' own."""
    feed = Feed(session(graph.read_bytes()), signature) if graph.is_file() else partial(fed, specs=signature.inputs)
    asked = [*(rows[place : place + 1] for place in range(rows.height)), rows]
    return recorded(model, (feed(signature.tensors(some)) for some in asked))


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
