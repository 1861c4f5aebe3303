"""Predictions that were answered and are not in the log: how many, between which moments, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from carrara.core.clock import from_microseconds, microseconds
from carrara.core.identity import new_id
from carrara.metadata.store import Metadata
from carrara.metadata.tables import prediction_losses


@dataclass(frozen=True)
class PredictionLoss:
    """`rows` predictions of a process in [since, until)."""

    id: str
    rows: int
    since: datetime
    until: datetime
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "since": self.since.isoformat(), "until": self.until.isoformat()}


def add_loss(
    metadata: Metadata, rows: int, since: datetime, until: datetime, reason: str, *, id: str | None = None
) -> None:
    """Record a loss; one with an `id` that is there already is the same one, and counts once."""
    values = {"id": id or new_id(), "rows": rows, "since": microseconds(since), "until": microseconds(until)}
    with metadata.begin() as connection:
        known = select(prediction_losses.c.id).where(prediction_losses.c.id == values["id"])
        if connection.execute(known).first() is None:
            connection.execute(insert(prediction_losses).values(**values, reason=reason))


def list_losses(metadata: Metadata, since: datetime | None = None) -> list[PredictionLoss]:
    """Every loss, or those that reach past a moment, oldest first."""
    query = select(prediction_losses).order_by(prediction_losses.c.until)
    if since is not None:
        query = query.where(prediction_losses.c.until >= microseconds(since))
    with metadata.begin() as connection:
        return [_loss(row) for row in connection.execute(query).mappings()]


def _loss(row: Any) -> PredictionLoss:
    times = {name: from_microseconds(row[name]) for name in ("since", "until")}
    return PredictionLoss(**{**row, **times})
