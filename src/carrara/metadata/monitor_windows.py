"""Windows of monitors: which were computed, from what, by whom; each is done once however many monitors there are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from carrara.core.clock import from_microseconds, microseconds
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import monitor_windows as table

SPAN = "span"
"""The state of the one row of a version that is about all of its windows together."""


@dataclass(frozen=True)
class WindowKey:
    """[start, end) of a model version's predictions."""

    model: str
    version: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class RecordedWindow:
    """`state` is running, complete, failed or SPAN; `inputs` names what it is computed from.

    `result` and `profile` are artifacts of the last time that it was computed, None before.
    """

    key: WindowKey
    state: str
    inputs: str
    computed_at: datetime | None
    predictions: int | None
    outcomes: int | None
    result: str | None
    profile: str | None
    error: str | None


def claim_window(metadata: Metadata, key: WindowKey, inputs: str, owner: str, now: datetime, lease: timedelta) -> bool:
    """Begin a window; False where it is computed from these inputs already, or another one is at it."""
    values = {"state": "running", "owner": owner, "lease_until": microseconds(now + lease), "error": None}
    try:
        with metadata.begin() as connection:
            row = connection.execute(select(table).where(_this(key))).mappings().one_or_none()
            if row is None:
                connection.execute(insert(table).values(**_columns(key), **values, inputs=inputs))
                return True
            if row["state"] == "complete" and row["inputs"] == inputs:
                return False
            if row["state"] == "running" and row["lease_until"] > microseconds(now):
                return False
            same = and_(_this(key), table.c.owner == row["owner"], table.c.state == row["state"])
            return connection.execute(update(table).where(same).values(**values, inputs=inputs)).rowcount == 1
    except IntegrityError:
        return False


def finish_window(metadata: Metadata, key: WindowKey, owner: str, now: datetime, **found: Any) -> None:
    """Say what came out: `predictions`, `outcomes`, `result`, `profile`; or the `error`."""
    state = "failed" if found.get("error") else "complete"
    mine = and_(_this(key), table.c.owner == owner)
    with metadata.begin() as connection:
        connection.execute(update(table).where(mine).values(state=state, computed_at=microseconds(now), **found))


def record_span(metadata: Metadata, key: WindowKey, now: datetime, **found: Any) -> None:
    """Record what all windows of a version are together, in place of what was recorded before."""
    values = {"state": SPAN, "inputs": "", "owner": "", "lease_until": 0, "computed_at": microseconds(now)}
    of_version = (table.c.model == key.model) & (table.c.version == key.version)
    with metadata.begin() as connection:
        connection.execute(delete(table).where(of_version, table.c.state == SPAN))
        # One window is all there is: its row stays the window's.
        if connection.execute(select(table.c.state).where(_this(key))).first() is None:
            connection.execute(insert(table).values(**_columns(key), **values, **found))


def list_windows(metadata: Metadata, model: str | None = None, version: int | None = None) -> list[RecordedWindow]:
    """What is recorded of the windows of all models, of one or of a version, oldest first, the span among them."""
    query = select(table).order_by(table.c.model, table.c.version, table.c.start, table.c.end)
    query = query.where(table.c.model == model) if model is not None else query
    query = query.where(table.c.version == version) if version is not None else query
    with metadata.begin() as connection:
        return [_recorded(row) for row in connection.execute(query).mappings()]


def delete_windows(metadata: Metadata, model: str, version: int, keys: Collection[WindowKey], **why: Any) -> None:
    """Forget windows of a version; the audit log keeps how many, and from when to when."""
    first, last = min(key.start for key in keys), max(key.end for key in keys)
    with metadata.begin() as connection:
        for key in keys:
            connection.execute(delete(table).where(_this(key)))
        told = {"windows": len(keys), "from": first.isoformat(), "to": last.isoformat()}
        record(connection, "expire windows", f"model:{model}@{version}", **told, **why)


@dataclass(frozen=True)
class VersionWindows:
    """All windows of a version together: how many predictions and known outcomes they have, from when to when."""

    model: str
    version: int
    predictions: int
    outcomes: int
    start: datetime
    end: datetime
    computed_at: datetime


def windows_by_version(metadata: Metadata) -> list[VersionWindows]:
    """Every version of which a window is computed: its span, or the one window that it has; the newest first."""
    length = table.c.end - table.c.start
    computed = table.c.result.is_not(None)
    widest = select(table.c.model, table.c.version, func.max(length).label("length")).where(computed)
    longest = widest.group_by(table.c.model, table.c.version).subquery()
    same = and_(table.c.model == longest.c.model, table.c.version == longest.c.version, length == longest.c.length)
    query = select(table).join(longest, same).where(computed).order_by(table.c.model, table.c.version.desc())
    found: dict[tuple[str, int], VersionWindows] = {}
    with metadata.read() as connection:
        for row in connection.execute(query.order_by(table.c.start.desc())).mappings():
            one = _recorded(row)
            told = (one.predictions or 0, one.outcomes or 0, one.key.start, one.key.end)
            known = VersionWindows(one.key.model, one.key.version, *told, one.computed_at or one.key.end)
            found.setdefault((known.model, known.version), known)
    return list(found.values())


def _columns(key: WindowKey) -> dict[str, Any]:
    return {**vars(key), "start": microseconds(key.start), "end": microseconds(key.end)}


def _this(key: WindowKey) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in _columns(key).items()))


def _recorded(row: Any) -> RecordedWindow:
    key = WindowKey(row["model"], row["version"], from_microseconds(row["start"]), from_microseconds(row["end"]))
    computed = from_microseconds(row["computed_at"]) if row["computed_at"] is not None else None
    found = {name: row[name] for name in ("state", "inputs", "predictions", "outcomes", "result", "profile", "error")}
    return RecordedWindow(key=key, computed_at=computed, **found)
