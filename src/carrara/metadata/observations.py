"""What servers observe of the versions that answer: counts by endpoint, version, server and moment.

Each server process adds a row of counts at a time; what all of them saw is their sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select

from carrara.core.clock import from_microseconds, microseconds
from carrara.metadata.store import Metadata
from carrara.metadata.tables import observations

KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Observation:
    """Counts that one server took of one version up to a moment, since its row before."""

    endpoint: str
    model: str
    version: int
    server: str
    at: datetime
    seen: dict[str, Any]


def add_observations(metadata: Metadata, some: Iterable[Observation]) -> None:
    """Keep what was observed; what is older than a week is forgotten."""
    rows = [{**vars(one), "at": microseconds(one.at)} for one in some]
    if not rows:
        return
    with metadata.begin() as connection:
        connection.execute(insert(observations), rows)
        oldest = max(row["at"] for row in rows) - microseconds(KEPT)
        connection.execute(delete(observations).where(observations.c.at < oldest))


def list_observations(metadata: Metadata, endpoint: str, since: datetime) -> list[Observation]:
    """What was observed of an endpoint after a moment, the oldest first."""
    wanted = (observations.c.endpoint == endpoint) & (observations.c.at > microseconds(since))
    query = select(observations).where(wanted).order_by(observations.c.at, observations.c.server)
    with metadata.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [Observation(**{**row, "at": from_microseconds(row["at"])}) for row in rows]
