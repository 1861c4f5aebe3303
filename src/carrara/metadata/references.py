"""Which digests and runs the metadata store names: what garbage collection and retention must leave."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec
from sqlalchemy import JSON, Connection, String, select

from carrara.metadata.store import Metadata
from carrara.metadata.tables import lineage, runs, tables, versions

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_RUN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HISTORY = {"audit"}
"""Tables that tell of what was: what they name may be gone."""
_OF_RUNS = {"run_metrics", "steps", "trials"}
"""Tables of what runs did: they do not keep a run. A step is found by what it was made from, whoever made it."""


def named_digests(metadata: Metadata) -> set[str]:
    """Every digest in any text of the store, but for those of deleted versions.

    It looks at all tables rather than at the columns that hold digests today: one that is added is not forgotten.
    """
    with metadata.read() as connection:
        return {digest for text in _texts(connection) for digest in _DIGEST.findall(text)}


def named_runs(metadata: Metadata) -> set[str]:
    """Every id of a run in any text of the store: of versions that are not deleted, of how they were made, of alerts,
    and of what other runs were asked for."""
    deleted = set(deleted_addresses(metadata))
    with metadata.read() as connection:
        texts = _texts(connection, _HISTORY | _OF_RUNS | {runs.name, lineage.name})
        found = {run for text in texts for run in _RUN.findall(text)}
        for parameters in connection.execute(select(runs.c.parameters)).scalars():
            found.update(_RUN.findall(_text(parameters)))
        for row in connection.execute(select(lineage.c.target, lineage.c.run_id)):
            if row.target not in deleted:
                found.add(row.run_id)
    return found


def deleted_addresses(metadata: Metadata) -> list[str]:
    """The deleted versions, such as `model:late@1`."""
    query = select(versions.c.kind, versions.c.name, versions.c.version).where(versions.c.deleted_at.is_not(None))
    with metadata.read() as connection:
        return [f"{row.kind}:{row.name}@{row.version}" for row in connection.execute(query)]


def deleted_digests(metadata: Metadata) -> dict[str, str]:
    """The digests of deleted versions, and whose they were."""
    query = select(versions).where(versions.c.deleted_at.is_not(None)).order_by(versions.c.version)
    with metadata.read() as connection:
        return {row.digest: f"{row.name}@{row.version}" for row in connection.execute(query)}


def _texts(connection: Connection, without: Collection[str] = frozenset(_HISTORY)) -> Iterator[str]:
    for table in tables.sorted_tables:
        columns = [column for column in table.columns if isinstance(column.type, String | JSON)]
        if table.name in without or not columns:
            continue
        query = select(*columns)
        query = query.where(versions.c.deleted_at.is_(None)) if table is versions else query
        for row in connection.execute(query):
            yield " ".join(_text(value) for value in row)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
