"""Garbage: files that nothing names any more, and what killed writers have left; each with why it is safe to delete.

What is named is read while nobody puts an artifact, so that a registration is seen whole or has not begun: one that
begins later finds a file gone, and writes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.metadata.references import deleted_digests, named_digests
from carrara.pipelines.retention import Expired
from carrara.storage.artifacts import StoredFile
from carrara.storage.stores import Stores
from carrara.training.analyzers.spans import FOLDER, PARTIAL

DAY = 86_400.0
_ANALYSES_KEPT = 30 * DAY
"""States of a day that no training has asked for so long are of rows, or of transforms, that are no more."""
_NAMELESS = "named by no version and no step"


@dataclass(frozen=True)
class Item:
    """A file that is not needed, and why."""

    path: Path
    bytes: int
    why: str


@dataclass(frozen=True)
class Garbage:
    """What was deleted, or would be."""

    items: tuple[Item, ...]
    dry_run: bool
    expired: tuple[Expired, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)

    def as_dict(self) -> dict[str, Any]:
        items = [{"path": str(item.path), "bytes": item.bytes, "why": item.why} for item in self.items]
        expired = [one.as_dict() for one in self.expired]
        told = {"dry_run": self.dry_run, "files": len(items), "bytes": self.bytes}
        return {**told, "items": items, "expired": expired}


def collect(stores: Stores, *, grace_seconds: float = DAY, dry_run: bool = False) -> Garbage:
    """Delete what nothing names, and nobody has touched for `grace_seconds`: a run may be about to name it."""
    before = stores.artifacts.clock() - grace_seconds
    with stores.artifacts.alone():
        artifacts = [(file, why) for file, why in _unnamed(stores) if file.touched_at < before]
        if not dry_run:
            gone = set(stores.artifacts.collect((file for file, _ in artifacts), before=before))
            artifacts = [(file, why) for file, why in artifacts if file in gone]
    items = [Item(file.path, file.bytes, why) for file, why in artifacts]
    old = _unused_analyses(stores, grace_seconds, dry_run)
    return Garbage((*items, *_left_in_the_lake(stores, before, dry_run), *old), dry_run)


def _unnamed(stores: Stores) -> Iterator[tuple[StoredFile, str]]:
    named = stores.artifacts.named_by(named_digests(stores.metadata))
    of_deleted: dict[str, str] = {}
    for digest, version in deleted_digests(stores.metadata).items():
        of_deleted |= dict.fromkeys(stores.artifacts.named_by([digest]), version)
    for file in stores.artifacts.files():
        if not file.digest:
            yield file, "left by a writer that was killed"
        elif file.digest not in named:
            deleted = file.digest in of_deleted
            yield file, f"of a deleted version: {of_deleted[file.digest]}" if deleted else _NAMELESS


def _unused_analyses(stores: Stores, grace_seconds: float, dry_run: bool) -> Iterable[Item]:
    now = stores.artifacts.clock()
    for path in sorted((stores.root / ".carrara" / FOLDER).glob("*")):
        partial = path.suffix == PARTIAL
        grace = grace_seconds if partial else max(grace_seconds, _ANALYSES_KEPT)
        why = "left by a writer that was killed" if partial else "what transforms found of a day, unused for 30 days"
        yield from _old(path, now - grace, why, dry_run)


def _left_in_the_lake(stores: Stores, before: float, dry_run: bool) -> Iterable[Item]:
    for path in stores.lake.left_behind():
        yield from _old(path, before, "in no version of its table: its writer failed before the commit", dry_run)


def _old(path: Path, before: float, why: str, dry_run: bool) -> Iterator[Item]:
    """A file that nobody has touched since, deleted."""
    try:
        stat = path.stat()
        if stat.st_mtime < before:
            if not dry_run:
                path.unlink()
            yield Item(path, stat.st_size, why)
    except FileNotFoundError:
        return
