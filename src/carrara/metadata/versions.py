"""Versions of anything that has versions: dataset, feature table, training set, model.

Numbers are unique and never reused; a version is visible with its whole record, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.errors import NotFoundError, Overtaken
from carrara.metadata.lineage import Edge, add_edges
from carrara.metadata.store import Metadata
from carrara.metadata.tables import versions


@dataclass(frozen=True)
class Version:
    kind: str
    name: str
    version: int
    digest: str
    run_id: str
    created_at: datetime
    record: dict[str, Any]

    @property
    def address(self) -> str:
        """The name of this version in lineage, e.g. `dataset:flights@3`."""
        return f"{self.kind}:{self.name}@{self.version}"


def add_version(
    metadata: Metadata,
    kind: str,
    name: str,
    *,
    digest: str,
    run_id: str,
    record: dict[str, Any],
    sources: list[str] | None = None,
    after: int | None = None,
) -> Version:
    """Record the next version of `name`, with lineage edges from `sources`, in one transaction.

    `after` is the version that this one builds on, 0 for none; Overtaken when another one became the newest meanwhile.
    """
    with metadata.begin() as connection:
        newest = connection.execute(
            select(func.max(versions.c.version)).where(versions.c.kind == kind, versions.c.name == name)
        ).scalar()
        if after is not None and after != (newest or 0):
            raise Overtaken(kind, name, newest)
        made = Version(kind, name, (newest or 0) + 1, digest, run_id, now(), record)
        _insert(connection, made)
        edges = [Edge(source, made.address, run_id) for source in sources or ()]
        add_edges(connection, edges)
    return made


def get_version(metadata: Metadata, kind: str, name: str, version: int | None = None) -> Version:
    """A version, or the newest; NotFoundError names the nearest name, or the versions there are."""
    found = find_version(metadata, kind, name, version)
    if found is not None:
        return found
    noun = kind.replace("_", " ")
    known = list_versions(metadata, kind, name)
    if known:
        numbers = [str(v.version) for v in known]
        raise NotFoundError(f"{noun} version", f"{name}@{version}", hint=f"There are versions {', '.join(numbers)}.")
    raise NotFoundError(noun, name, names(metadata, kind))


def find_version(metadata: Metadata, kind: str, name: str, version: int | None = None) -> Version | None:
    query = select(versions).where(versions.c.kind == kind, versions.c.name == name)
    query = query.where(versions.c.version == version) if version is not None else query
    with metadata.begin() as connection:
        row = connection.execute(query.order_by(versions.c.version.desc()).limit(1)).mappings().one_or_none()
    return _version(row) if row is not None else None


def find_by_digest(metadata: Metadata, kind: str, name: str, digest: str) -> Version | None:
    """The newest version with this digest."""
    query = select(versions).where(versions.c.kind == kind, versions.c.name == name, versions.c.digest == digest)
    with metadata.begin() as connection:
        row = connection.execute(query.order_by(versions.c.version.desc()).limit(1)).mappings().one_or_none()
    return _version(row) if row is not None else None


def list_versions(metadata: Metadata, kind: str, name: str | None = None) -> list[Version]:
    """Versions by name and number, oldest first."""
    query = select(versions).where(versions.c.kind == kind).order_by(versions.c.name, versions.c.version)
    query = query.where(versions.c.name == name) if name is not None else query
    with metadata.begin() as connection:
        return [_version(row) for row in connection.execute(query).mappings()]


def state_of(metadata: Metadata, kinds: Sequence[str]) -> tuple[int, int]:
    """What changes whenever a version of these kinds is added: their number, and when the newest came."""
    query = select(func.count(), func.max(versions.c.created_at)).where(versions.c.kind.in_(kinds))
    with metadata.begin() as connection:
        count, newest = connection.execute(query).one()
    return count, newest or 0


def names(metadata: Metadata, kind: str) -> list[str]:
    query = select(versions.c.name).where(versions.c.kind == kind).distinct().order_by(versions.c.name)
    with metadata.begin() as connection:
        return list(connection.execute(query).scalars())


def _insert(connection: Connection, made: Version) -> None:
    values = {**vars(made), "created_at": microseconds(made.created_at)}
    connection.execute(insert(versions).values(**values))


def _version(row: Any) -> Version:
    return Version(**{**row, "created_at": from_microseconds(row["created_at"])})
