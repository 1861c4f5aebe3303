"""Aliases: names that lead to a version of a model, such as `champion`; where they pointed before is kept.

Moves of one store follow one another, each whole: a reader sees an alias before a move or after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.errors import NotFoundError
from carrara.core.identity import current_user
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import aliases, versions


@dataclass(frozen=True)
class Move:
    """Where an alias was pointed; `version` is None where it was taken away."""

    alias: str
    version: int | None
    moved_at: datetime
    moved_by: str


def move_alias(metadata: Metadata, model: str, alias: str, version: int | None) -> None:
    """Point an alias at a version, or take it away; NotFoundError where the version was deleted."""
    with metadata.begin() as connection:
        if version is not None:
            refuse_deleted(connection, model, version)
        point(connection, model, alias, version)


def current_aliases(metadata: Metadata, model: str) -> dict[str, int]:
    """Each alias of a model and the version it points at."""
    with metadata.read() as connection:
        return pointed_at(connection, model)


def alias_history(metadata: Metadata, model: str) -> list[Move]:
    """Every move of the model's aliases, in the order in which they were made."""
    query = select(aliases).where(aliases.c.model == model).order_by(aliases.c.id)
    with metadata.read() as connection:
        return [
            Move(row.alias, row.version, from_microseconds(row.moved_at), row.moved_by)
            for row in connection.execute(query)
        ]


def pointed_at(connection: Connection, model: str) -> dict[str, int]:
    """Where a model's aliases point, inside a transaction."""
    rows = connection.execute(select(aliases).where(aliases.c.model == model).order_by(aliases.c.id))
    return {alias: version for alias, version in {r.alias: r.version for r in rows}.items() if version is not None}


def point(connection: Connection, model: str, alias: str, version: int | None) -> None:
    values = {"model": model, "alias": alias, "version": version, "moved_by": current_user()}
    connection.execute(insert(aliases).values(**values, moved_at=microseconds(now())))
    if version is None:
        record(connection, "remove alias", f"model:{model}", alias=alias)
    else:
        record(connection, "move alias", f"model:{model}@{version}", alias=alias)


def refuse_deleted(connection: Connection, model: str, version: int) -> None:
    """Raise NotFoundError where this version of a model was deleted: nothing may lead to it any more."""
    this = (versions.c.kind == "model") & (versions.c.name == model) & (versions.c.version == version)
    gone = connection.execute(select(versions.c.deleted_by).where(this, versions.c.deleted_at.is_not(None))).scalar()
    if gone is not None:
        raise NotFoundError("model version", f"{model}@{version}", hint=f"{gone} deleted it.")
