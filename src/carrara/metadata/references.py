"""Which digests the metadata store names: what garbage collection must leave."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from sqlalchemy import JSON, Connection, String, select

from carrara.metadata.store import Metadata
from carrara.metadata.tables import tables, versions

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_HISTORY = {"audit"}
"""Tables that tell of what was: what they name may be gone."""


def named_digests(metadata: Metadata) -> set[str]:
    """Every digest in any text of the store, but for those of deleted versions.

    It looks at all tables rather than at the columns that hold digests today: one that is added is not forgotten.
    """
    with metadata.read() as connection:
        return {digest for text in _texts(connection) for digest in _DIGEST.findall(text)}


def deleted_digests(metadata: Metadata) -> dict[str, str]:
    """The digests of deleted versions, and whose they were."""
    query = select(versions).where(versions.c.deleted_at.is_not(None)).order_by(versions.c.version)
    with metadata.read() as connection:
        return {row.digest: f"{row.name}@{row.version}" for row in connection.execute(query)}


def _texts(connection: Connection) -> Iterator[str]:
    for table in tables.sorted_tables:
        columns = [column for column in table.columns if isinstance(column.type, String | JSON)]
        if table.name in _HISTORY or not columns:
            continue
        query = select(*columns)
        query = query.where(versions.c.deleted_at.is_(None)) if table is versions else query
        for row in connection.execute(query):
            yield " ".join(_text(value) for value in row)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
