"""Intervals: which stretches of a schedule were done, by whom, and which are being done.

Each has one row, so that of any number of schedulers one works on it at a time, and none after it was done (P12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from carrara.core.clock import from_microseconds, microseconds
from carrara.metadata.store import Metadata
from carrara.metadata.tables import intervals


@dataclass(frozen=True)
class Interval:
    """What ends at `until`; a running one belongs to `owner` until its lease is over."""

    kind: str
    name: str
    until: datetime
    state: Literal["running", "complete", "failed"]
    owner: str
    lease_until: datetime
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class Claim:
    """Some intervals of one schedule, claimed together."""

    kind: str
    name: str
    moments: tuple[datetime, ...]
    owner: str


def claim(metadata: Metadata, wanted: Claim, now: datetime, lease: timedelta) -> bool:
    """Begin these intervals, all of them; False where one of them is done, or is another's."""
    values = {"owner": wanted.owner, "state": "running", "started_at": microseconds(now), "ended_at": None}
    values |= {"lease_until": microseconds(now + lease), "error": None}
    try:
        with metadata.begin() as connection:
            rows = connection.execute(select(intervals).where(_these(wanted))).mappings()
            there = {row["until"]: row for row in rows}
            for moment in map(microseconds, wanted.moments):
                row = there.get(moment)
                if row is None:
                    key = {"kind": wanted.kind, "name": wanted.name, "until": moment}
                    connection.execute(insert(intervals).values(**key, **values, attempts=1))
                elif row["state"] == "complete" or (
                    row["state"] == "running" and row["lease_until"] > microseconds(now)
                ):
                    raise _Taken
                else:
                    # The row must still be as it was read: another scheduler may take it over at this moment.
                    same = and_(_these(wanted), intervals.c.until == moment, intervals.c.owner == row["owner"])
                    same = and_(same, intervals.c.attempts == row["attempts"])
                    changed = update(intervals).where(same).values(**values, attempts=row["attempts"] + 1)
                    if connection.execute(changed).rowcount != 1:
                        raise _Taken
    except (_Taken, IntegrityError):
        return False
    return True


def extend(metadata: Metadata, held: Claim, lease_until: datetime) -> None:
    """Go on holding intervals that are being worked on."""
    with metadata.begin() as connection:
        connection.execute(update(intervals).where(_held(held)).values(lease_until=microseconds(lease_until)))


def finish(metadata: Metadata, held: Claim, now: datetime, error: str | None = None) -> None:
    """Say that intervals are complete, or have failed; those that another took over meanwhile are left to it."""
    values = {"state": "failed" if error else "complete", "ended_at": microseconds(now), "error": error}
    with metadata.begin() as connection:
        connection.execute(update(intervals).where(_held(held)).values(**values))


def list_intervals(
    metadata: Metadata, kind: str, name: str, *, state: str | None = None, limit: int = 100
) -> list[Interval]:
    """The intervals of one schedule, the newest first."""
    query = select(intervals).where(intervals.c.kind == kind, intervals.c.name == name)
    query = query.where(intervals.c.state == state) if state is not None else query
    with metadata.begin() as connection:
        return [
            _interval(row)
            for row in connection.execute(query.order_by(intervals.c.until.desc()).limit(limit)).mappings()
        ]


class _Taken(Exception):
    """An interval is done, or another's."""


def _is_taken(row: Any, now: int) -> bool:
    return bool(row["state"] == "complete" or (row["state"] == "running" and row["lease_until"] > now))


def _these(wanted: Claim) -> ColumnElement[bool]:
    moments: Sequence[int] = [microseconds(moment) for moment in wanted.moments]
    span = intervals.c.until.between(min(moments), max(moments))
    return and_(intervals.c.kind == wanted.kind, intervals.c.name == wanted.name, span)


def _held(held: Claim) -> ColumnElement[bool]:
    return and_(_these(held), intervals.c.owner == held.owner, intervals.c.state == "running")


def _interval(row: Any) -> Interval:
    times = {name: from_microseconds(row[name]) for name in ("until", "lease_until", "started_at")}
    ended = from_microseconds(row["ended_at"]) if row["ended_at"] is not None else None
    return Interval(**{**row, **times, "ended_at": ended})
