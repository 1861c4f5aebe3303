"""Decisions: what people said of a version, with their reasons. They are added to, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import insert, select

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.identity import current_user
from carrara.metadata.aliases import refuse_deleted
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import decisions

Word = Literal["approved", "rejected", "overridden"]


@dataclass(frozen=True)
class Decision:
    """`approved` and `rejected` are a person's judgement; `overridden` lets a version live whose gates failed."""

    decision: Word
    by: str
    reason: str
    at: datetime

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "at": self.at.isoformat()}


def add_decision(metadata: Metadata, model: str, version: int, decision: Word, reason: str) -> Decision:
    """Write down what the current user decided; NotFoundError where the version was deleted."""
    made = Decision(decision, current_user(), reason, now())
    values = {"model": model, "version": version, "decision": decision, "by": made.by, "reason": reason}
    with metadata.begin() as connection:
        refuse_deleted(connection, model, version)
        connection.execute(insert(decisions).values(**values, at=microseconds(made.at)))
        record(connection, decision, f"model:{model}@{version}", reason=reason)
    return made


def decisions_of(metadata: Metadata, model: str, version: int) -> list[Decision]:
    """Every decision on a version, in order."""
    this = (decisions.c.model == model) & (decisions.c.version == version)
    with metadata.read() as connection:
        rows = connection.execute(select(decisions).where(this).order_by(decisions.c.id))
        return [Decision(row.decision, row.by, row.reason, from_microseconds(row.at)) for row in rows]
