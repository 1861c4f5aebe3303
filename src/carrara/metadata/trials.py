"""Trials of hyper-parameters, kept as they end, so that tuning goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.metadata.store import Metadata
from carrara.metadata.tables import trials


@dataclass(frozen=True)
class RecordedTrial:
    """One trial of a study, which is a model with its training set and its search space."""

    study: str
    number: int
    model: str
    run_id: str
    state: str
    parameters: dict[str, Any]
    value: float | None
    losses: list[float]
    error: str | None
    ended_at: datetime


def add_trial(
    metadata: Metadata,
    study: str,
    model: str,
    run_id: str,
    *,
    state: str,
    parameters: dict[str, Any],
    value: float | None,
    losses: Sequence[float],
    error: str | None,
) -> None:
    """Record a trial under the next number of its study."""
    row: dict[str, Any] = {"study": study, "model": model, "run_id": run_id, "state": state, "value": value}
    row |= {"parameters": parameters}
    row |= {"losses": list(losses), "error": error, "ended_at": microseconds(now())}
    with metadata.begin() as connection:
        there = connection.execute(select(func.max(trials.c.number)).where(trials.c.study == study)).scalar()
        connection.execute(insert(trials).values(**row, number=(there or 0) + 1))


def list_trials(metadata: Metadata, *, study: str | None = None, model: str | None = None) -> list[RecordedTrial]:
    """The trials of a study, or of a model, in the order in which they ended."""
    query = select(trials).order_by(trials.c.ended_at, trials.c.study, trials.c.number)
    if study is not None:
        query = query.where(trials.c.study == study)
    if model is not None:
        query = query.where(trials.c.model == model)
    with metadata.begin() as connection:
        rows = connection.execute(query).mappings().all()
    return [RecordedTrial(**{**row, "ended_at": from_microseconds(row["ended_at"])}) for row in rows]
