"""What happened to an endpoint, and why: deployments, canaries, promotions, rollbacks, unloaded versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.identity import current_user
from carrara.metadata.store import Metadata
from carrara.metadata.tables import endpoint_events


@dataclass(frozen=True)
class EndpointEvent:
    """`kind` is deployed, canary, split, shadow, promoted, rolled back, ended, idle, unloaded, retired or
    alert."""

    endpoint: str
    at: datetime
    by: str
    kind: str
    model: str
    version: int
    reasons: tuple[str, ...]


def add_event(
    connection: Connection, endpoint: str, kind: str, model: str, version: int, reasons: Sequence[str] = ()
) -> None:
    values = {"endpoint": endpoint, "kind": kind, "model": model, "version": version, "reasons": list(reasons)}
    connection.execute(insert(endpoint_events).values(**values, at=microseconds(now()), by=current_user()))


def list_events(metadata: Metadata, endpoint: str, *, limit: int = 1_000) -> list[EndpointEvent]:
    """The newest events of an endpoint, the oldest of them first."""
    query = select(endpoint_events).where(endpoint_events.c.endpoint == endpoint)
    with metadata.read() as connection:
        rows = connection.execute(query.order_by(endpoint_events.c.id.desc()).limit(limit)).mappings().all()
    return [
        EndpointEvent(
            **{
                **{name: value for name, value in row.items() if name != "id"},
                "at": from_microseconds(row["at"]),
                "reasons": tuple(row["reasons"]),
            }
        )
        for row in reversed(rows)
    ]
