"""Versions of anything that has versions: dataset, feature table, training set, model.

Numbers are unique and never reused, that of a deleted version neither; a version is visible with its whole record, or
not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.errors import NotFoundError, Overtaken
from carrara.core.failpoints import reach
from carrara.core.identity import current_user
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
    key: str | None = None,
    beside: Callable[[Connection, Version], None] | None = None,
) -> Version:
    """Record the next version of `name`, with lineage edges from `sources`, in one transaction.

    `after` is the version that this one builds on, 0 for none; Overtaken when another one became the newest meanwhile.
    `key` names the request: asked again, because its answer was lost, it gets the version that it made. `beside`
    writes what belongs to the version in other tables.
    """
    with metadata.begin() as connection:
        same = _by_key(connection, kind, name, key) if key is not None else None
        if same is not None:
            return same
        newest = newest_number(connection, kind, name)
        if after is not None and after != newest:
            raise Overtaken(kind, name, newest or None)
        made = Version(kind, name, newest + 1, digest, run_id, now(), record)
        values = {**vars(made), "created_at": microseconds(made.created_at), "key": key}
        connection.execute(insert(versions).values(**values))
        add_edges(connection, [Edge(source, made.address, run_id) for source in sources or ()])
        if beside is not None:
            beside(connection, made)
        reach("versions.before-commit")
    reach("versions.after-commit")
    return made


def delete_version(connection: Connection, kind: str, name: str, version: int) -> None:
    """Take a version away; its number, when it was made and what was made of it stay known."""
    this = (versions.c.kind == kind) & (versions.c.name == name) & (versions.c.version == version)
    gone = {"deleted_at": microseconds(now()), "deleted_by": current_user(), "key": None}
    connection.execute(update(versions).where(this).values(**gone))


def newest_number(connection: Connection, kind: str, name: str) -> int:
    """The newest number that was ever given, 0 for none."""
    named = (versions.c.kind == kind) & (versions.c.name == name)
    return connection.execute(select(func.max(versions.c.version)).where(named)).scalar() or 0


def get_version(metadata: Metadata, kind: str, name: str, version: int | None = None) -> Version:
    """A version, or the newest; NotFoundError names the nearest name, or the versions there are."""
    found = find_version(metadata, kind, name, version)
    if found is not None:
        return found
    noun = kind.replace("_", " ")
    if version is not None and (deleted := _deletion(metadata, kind, name, version)):
        raise NotFoundError(f"{noun} version", f"{name}@{version}", hint=deleted)
    known = version_numbers(metadata, kind, name)
    if known:
        hint = f"There are versions {numbers_in_words(known)}."
        raise NotFoundError(f"{noun} version", f"{name}@{version}", hint=hint)
    raise NotFoundError(noun, name, names(metadata, kind))


def find_version(metadata: Metadata, kind: str, name: str, version: int | None = None) -> Version | None:
    query = _there(kind, name)
    query = query.where(versions.c.version == version) if version is not None else query
    with metadata.read() as connection:
        row = connection.execute(query.order_by(versions.c.version.desc()).limit(1)).mappings().one_or_none()
    return _version(row) if row is not None else None


def find_by_digest(metadata: Metadata, kind: str, name: str, digest: str) -> Version | None:
    """The newest version with this digest."""
    query = _there(kind, name).where(versions.c.digest == digest).order_by(versions.c.version.desc()).limit(1)
    with metadata.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return _version(row) if row is not None else None


def list_versions(metadata: Metadata, kind: str, name: str | None = None) -> list[Version]:
    """Versions by name and number, oldest first."""
    with metadata.read() as connection:
        rows = connection.execute(_there(kind, name).order_by(versions.c.name, versions.c.version)).mappings()
        return [_version(row) for row in rows]


def has_versions(metadata: Metadata, kinds: Sequence[str]) -> bool:
    """Whether there is a version of any of these kinds."""
    query = select(versions.c.name).where(versions.c.kind.in_(kinds), versions.c.deleted_at.is_(None)).limit(1)
    with metadata.read() as connection:
        return connection.execute(query).first() is not None


def version_numbers(metadata: Metadata, kind: str, name: str) -> list[int]:
    """The numbers of the versions there are, ascending."""
    query = select(versions.c.version).where(
        versions.c.kind == kind, versions.c.name == name, versions.c.deleted_at.is_(None)
    )
    with metadata.read() as connection:
        return list(connection.execute(query.order_by(versions.c.version)).scalars())


def numbers_in_words(numbers: Sequence[int]) -> str:
    """
    >>> numbers_in_words([1, 2, 3, 7])
    '1–3, 7'
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    shown = [f"{a}–{b}" if b > a + 1 else ", ".join(map(str, range(a, b + 1))) for a, b in spans]
    return ", ".join(shown[:5] + ["…"] * (len(shown) > 5))


def newest_of_each(
    metadata: Metadata, kind: str, *, text: str = "", limit: int = 50, offset: int = 0
) -> list[tuple[Version, int]]:
    """The newest version of each name that holds `text`, and how many there are; the latest first."""
    newest = _newest(kind, text).order_by(func.max(versions.c.created_at).desc(), versions.c.name)
    chosen = newest.limit(limit).offset(offset).subquery()
    these = (versions.c.kind == kind) & (versions.c.name == chosen.c.name) & (versions.c.version == chosen.c.newest)
    query = select(*_COLUMNS, chosen.c.count).join(chosen, these)
    query = query.order_by(versions.c.created_at.desc(), versions.c.name)
    with metadata.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [(_version({n: v for n, v in row.items() if n != "count"}), row["count"]) for row in rows]


def count_names(metadata: Metadata, kind: str, *, text: str = "") -> int:
    query = select(func.count()).select_from(_newest(kind, text).subquery())
    with metadata.read() as connection:
        return int(connection.execute(query).scalar_one())


def versions_of(metadata: Metadata, kind: str, name: str, *, limit: int = 50, offset: int = 0) -> list[Version]:
    """Some versions of one name, the newest first."""
    query = _there(kind, name).order_by(versions.c.version.desc()).limit(limit).offset(offset)
    with metadata.read() as connection:
        return [_version(row) for row in connection.execute(query).mappings()]


def count_versions(metadata: Metadata, kind: str, name: str | None = None) -> int:
    query = select(func.count()).select_from(_there(kind, name).subquery())
    with metadata.read() as connection:
        return int(connection.execute(query).scalar_one())


def _newest(kind: str, text: str) -> Select[Any]:
    query = select(versions.c.name, func.max(versions.c.version).label("newest"), func.count().label("count"))
    holds = versions.c.name.contains(text, autoescape=True)
    there = (versions.c.kind == kind) & versions.c.deleted_at.is_(None)
    return query.where(there, *([holds] if text else [])).group_by(versions.c.name)


def state_of(metadata: Metadata, kinds: Sequence[str]) -> tuple[int, int]:
    """What changes whenever a version of these kinds comes or goes: their number, and when the last one did."""
    query = select(func.count(), func.max(versions.c.created_at), func.max(versions.c.deleted_at))
    with metadata.read() as connection:
        count, newest, deleted = connection.execute(query.where(versions.c.kind.in_(kinds))).one()
    return count, max(newest or 0, deleted or 0)


def names(metadata: Metadata, kind: str) -> list[str]:
    there = (versions.c.kind == kind) & versions.c.deleted_at.is_(None)
    query = select(versions.c.name).where(there).distinct().order_by(versions.c.name)
    with metadata.read() as connection:
        return list(connection.execute(query).scalars())


_COLUMNS = [versions.c[name] for name in ("kind", "name", "version", "digest", "run_id", "created_at", "record")]


def _there(kind: str, name: str | None) -> Select[Any]:
    query = select(*_COLUMNS).where(versions.c.kind == kind, versions.c.deleted_at.is_(None))
    return query.where(versions.c.name == name) if name is not None else query


def _by_key(connection: Connection, kind: str, name: str, key: str) -> Version | None:
    row = connection.execute(_there(kind, name).where(versions.c.key == key)).mappings().one_or_none()
    return _version(row) if row is not None else None


def _deletion(metadata: Metadata, kind: str, name: str, version: int) -> str:
    """Who deleted a version, and when, in a sentence; empty for one that there never was."""
    this = (versions.c.kind == kind) & (versions.c.name == name) & (versions.c.version == version)
    with metadata.read() as connection:
        row = connection.execute(select(versions.c.deleted_at, versions.c.deleted_by).where(this)).one_or_none()
    if row is None or row.deleted_at is None:
        return ""
    return f"{row.deleted_by} deleted it at {from_microseconds(row.deleted_at):%Y-%m-%d %H:%M:%S} UTC."


def _version(row: Any) -> Version:
    return Version(**{**row, "created_at": from_microseconds(row["created_at"])})
