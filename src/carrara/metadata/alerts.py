"""Alerts and their states: pending, firing, resolved; and silences. A transition happens once, whoever is first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from carrara.core.clock import from_microseconds, microseconds
from carrara.core.identity import current_user, new_id
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import alerts, silences

PENDING, FIRING, RESOLVED = "pending", "firing", "resolved"


@dataclass(frozen=True)
class AlertState:
    """One alert of a model version: `windows` is for how many its rule has held, `window_end` the newest of them.

    `taken_by` are the notifiers that were told its present state, and `told_at` when all were.
    """

    id: str
    model: str
    version: int
    rule: str
    state: str
    windows: int
    pending_at: datetime
    firing_at: datetime | None
    resolved_at: datetime | None
    told_at: datetime | None
    window_end: datetime
    details: dict[str, Any]
    taken_by: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Silence:
    """Alerts of a model, or of one rule of it, that are not told in [since, until)."""

    id: str
    model: str
    rule: str | None
    since: datetime
    until: datetime
    silenced_by: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "since": self.since.isoformat(), "until": self.until.isoformat()}


def move_alert(
    metadata: Metadata,
    model: str,
    version: int,
    rule: str,
    *,
    windows: int,
    for_windows: int,
    window_end: datetime,
    details: dict[str, Any],
    now: datetime,
) -> AlertState | None:
    """Take a rule's alert to where `windows` windows in a row (0: none) bring it; the alert, if its state changed."""
    at, wanted = microseconds(now), FIRING if windows >= for_windows else PENDING
    with metadata.begin() as connection:
        this = (alerts.c.model == model) & (alerts.c.version == version) & (alerts.c.rule == rule)
        row = connection.execute(select(alerts).where(this, alerts.c.state != RESOLVED)).mappings().first()
        if row is None:
            if not windows:
                return None
            values = {"id": new_id(), "model": model, "version": version, "rule": rule, "state": wanted}
            values |= {"pending_at": at, "firing_at": at if wanted == FIRING else None, "resolved_at": None}
            values |= {"windows": windows, "window_end": microseconds(window_end), "details": details, "told_at": None}
            values |= {"taken_by": []}
            connection.execute(insert(alerts).values(**values))
            return _alert(values)
        same = (alerts.c.id == row["id"]) & (alerts.c.state == row["state"])
        if not windows:
            # What never fired was nothing, and leaves no trace.
            if row["state"] == PENDING:
                connection.execute(alerts.delete().where(same))
                return None
            changed = {"state": RESOLVED, "resolved_at": at, "told_at": None, "taken_by": []}
        elif row["state"] == PENDING and wanted == FIRING:
            changed = {"state": FIRING, "firing_at": at, "told_at": None, "taken_by": []}
        else:
            changed = {}
        if windows:
            changed |= {"windows": windows, "window_end": microseconds(window_end), "details": details}
        if connection.execute(update(alerts).where(same).values(**changed)).rowcount != 1:
            return None
        moved = _alert({**row, **changed})
        return moved if moved.state != row["state"] else None


def mark_told(metadata: Metadata, ids: list[str], now: datetime) -> None:
    """Remember that alerts were told in their present state."""
    with metadata.begin() as connection:
        connection.execute(update(alerts).where(alerts.c.id.in_(ids)).values(told_at=microseconds(now)))


def mark_taken(metadata: Metadata, told: Iterable[AlertState], notifier: str) -> None:
    """Remember that a notifier has taken alerts in their present state."""
    with metadata.begin() as connection:
        for one in told:
            taken = (
                connection.execute(select(alerts.c.taken_by).where(alerts.c.id == one.id)).scalar_one_or_none() or []
            )
            changed = update(alerts).where(alerts.c.id == one.id, alerts.c.state == one.state)
            connection.execute(changed.values(taken_by=sorted({*taken, notifier})))


def list_alerts(metadata: Metadata, model: str | None = None, *, open_only: bool = False) -> list[AlertState]:
    """The newest first; of all models, or of one."""
    query = select(alerts).order_by(alerts.c.pending_at.desc(), alerts.c.rule)
    query = query.where(alerts.c.model == model) if model is not None else query
    query = query.where(alerts.c.state != RESOLVED) if open_only else query
    with metadata.begin() as connection:
        return [_alert(row) for row in connection.execute(query).mappings()]


def untold(metadata: Metadata, model: str, version: int) -> list[AlertState]:
    """What fires or is resolved, and was not told so."""
    query = select(alerts).where(
        (alerts.c.model == model)
        & (alerts.c.version == version)
        & alerts.c.told_at.is_(None)
        & (alerts.c.state != PENDING)
    )
    with metadata.begin() as connection:
        return [_alert(row) for row in connection.execute(query.order_by(alerts.c.pending_at)).mappings()]


def add_silence(
    metadata: Metadata, model: str, rule: str | None, since: datetime, until: datetime, reason: str
) -> Silence:
    made = Silence(new_id(), model, rule, since, until, current_user(), reason)
    times = {"since": microseconds(since), "until": microseconds(until)}
    with metadata.begin() as connection:
        connection.execute(insert(silences).values({**vars(made), **times}))
        record(connection, "silence", f"model:{model}", rule=rule, until=until.isoformat(), reason=reason)
    return made


def list_silences(metadata: Metadata, model: str, at: datetime) -> list[Silence]:
    """The silences of a model that hold at a moment."""
    moment = microseconds(at)
    query = select(silences).where(silences.c.model == model, silences.c.since <= moment, silences.c.until > moment)
    with metadata.begin() as connection:
        return list(_silences(connection.execute(query).mappings()))


def _silences(rows: Any) -> Iterator[Silence]:
    for row in rows:
        yield Silence(**{**row, **{name: from_microseconds(row[name]) for name in ("since", "until")}})


def _alert(row: Any) -> AlertState:
    names = ("pending_at", "firing_at", "resolved_at", "told_at", "window_end")
    times = {name: None if row[name] is None else from_microseconds(row[name]) for name in names}
    return AlertState(**{**row, **times, "taken_by": row["taken_by"] or []})
