"""The applied definitions: the specs that the team agreed on, with every version they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from carrara.core.clock import microseconds, now
from carrara.core.digests import digest_data
from carrara.core.identity import current_user
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import definitions


def applied_specs(metadata: Metadata) -> dict[str, dict[str, Any]]:
    """The spec of every applied definition under `kind:name`."""
    with metadata.begin() as connection:
        return _active(connection)


def replace_applied(
    metadata: Metadata, specs: Mapping[str, dict[str, Any]], *, planned_from: Mapping[str, dict[str, Any]]
) -> bool:
    """Make `specs` the applied ones, all or nothing.

    False, and nothing is changed, when the applied specs are no longer those of `planned_from`:
    somebody else applied in between.
    """
    with metadata.begin() as connection:
        active = _active(connection)
        if active != planned_from:
            return False
        at = microseconds(now())
        for key in active:
            if specs.get(key) != active[key]:
                _remove(connection, key, at)
                if key not in specs:
                    record(connection, "remove", key)
        for key, spec in specs.items():
            if active.get(key) != spec:
                _add(connection, key, spec, at)
                record(connection, "apply", key, digest=digest_data(spec))
    return True


def _active(connection: Connection) -> dict[str, dict[str, Any]]:
    query = select(definitions).where(definitions.c.removed_at.is_(None))
    rows = connection.execute(query.order_by(definitions.c.kind, definitions.c.name)).mappings()
    return {f"{row['kind']}:{row['name']}": row["spec"] for row in rows}


def _remove(connection: Connection, key: str, at: int) -> None:
    kind, name = key.split(":", 1)
    named = (definitions.c.kind == kind) & (definitions.c.name == name) & definitions.c.removed_at.is_(None)
    connection.execute(update(definitions).where(named).values(removed_at=at))


def _add(connection: Connection, key: str, spec: dict[str, Any], at: int) -> None:
    kind, name = key.split(":", 1)
    named = (definitions.c.kind == kind) & (definitions.c.name == name)
    newest = connection.execute(select(func.max(definitions.c.version)).where(named)).scalar()
    connection.execute(
        insert(definitions).values(
            kind=kind,
            name=name,
            version=(newest or 0) + 1,
            digest=digest_data(spec),
            spec=spec,
            applied_at=at,
            applied_by=current_user(),
        )
    )
