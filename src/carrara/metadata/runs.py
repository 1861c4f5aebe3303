"""Runs: who did what, when, with which parameters, and how it ended; and the steps that need no repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.errors import NotFoundError
from carrara.core.figures import short, when, words
from carrara.core.html import card, note, section, state, table
from carrara.core.identity import current_user, new_id
from carrara.core.processes import Process, Stopped
from carrara.core.svg import Html
from carrara.metadata.audit import record
from carrara.metadata.run_events import RunEvent, current_run
from carrara.metadata.store import Metadata
from carrara.metadata.tables import run_metrics, runs, steps

_AT_ONCE = 500
_NOTHING: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True)
class Run:
    """One execution; `state` is running, complete, failed, stopped, or lost: its process is no more."""

    id: str
    kind: str
    name: str
    state: str
    user: str
    started_at: datetime
    ended_at: datetime | None
    parameters: dict[str, Any]
    error: str | None
    process: Process | None = None

    def as_dict(self) -> dict[str, Any]:
        ended = self.ended_at.isoformat() if self.ended_at else None
        where = f"{self.process.host}, process {self.process.number}" if self.process else None
        told = {name: getattr(self, name) for name in ("id", "kind", "name", "state", "user", "parameters", "error")}
        return {**told, "from": self.started_at.isoformat(), "to": ended, "on": where}

    def _repr_html_(self) -> str:
        took = (self.ended_at - self.started_at).total_seconds() if self.ended_at else None
        look = {"complete": "good", "running": "busy", "failed": "bad", "lost": "bad"}.get(self.state, "quiet")
        by = escape(f" · began {when(self.started_at)} UTC by {self.user}" + (f", took {took:.1f} s" if took else ""))
        given = [(words(name), short(value, 160)) for name, value in self.parameters.items() if value not in _NOTHING]
        return card(
            f"{self.kind} {self.name}",
            section("What went wrong", note(self.error)) if self.error else "",
            section("Parameters", table(["", "value"], given)) if given else "",
            note(f"run {self.id}"),
            lead=Html(state(self.state, look) + by),
        )


@dataclass(frozen=True)
class RecordedStep:
    key: str
    name: str
    run_id: str
    started_at: datetime
    ended_at: datetime
    outputs: dict[str, Any]


@contextmanager
def run(metadata: Metadata, kind: str, name: str, parameters: dict[str, Any]) -> Iterator[str]:
    """Record a run around a block: complete at its end, failed with the error when it raises."""
    run_id = new_id()
    here = Process.current()
    values: dict[str, Any] = {"id": run_id, "kind": kind, "name": name, "state": "running", "user": current_user()}
    values |= {"host": here.host, "process": here.number, "began": here.began}
    with metadata.begin() as connection:
        connection.execute(insert(runs).values(**values, started_at=microseconds(now()), parameters=parameters))
    event = RunEvent(run_id, kind, name, "running", values["user"], parameters, parent=current_run.get())
    metadata.tell(event)
    outer = current_run.set((run_id, kind, name))
    try:
        yield run_id
    except Stopped:
        _end(metadata, event, "stopped", None)
        raise
    except BaseException as error:
        _end(metadata, event, "failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        current_run.reset(outer)
    _end(metadata, event, "complete", None)


def fail_run(metadata: Metadata, run_id: str, error: str) -> None:
    """Record that a run failed, by a process that is about to end."""
    found = get_run(metadata, run_id)
    _end(metadata, RunEvent(found.id, found.kind, found.name, "running", found.user, found.parameters), "failed", error)


def get_run(metadata: Metadata, run_id: str) -> Run:
    """A run by its id, or by the first letters of it that no other run has."""
    with metadata.begin() as connection:
        # A range, and not LIKE, finds them by the index; nothing in an id sorts behind a tilde.
        named = (runs.c.id >= run_id) & (runs.c.id < run_id + "~")
        rows = connection.execute(select(runs).where(named).limit(100)).mappings().all()
    if len(rows) != 1:
        several = f"{len(rows)} runs begin with it." if rows else "carrara run list shows them."
        raise NotFoundError("run", run_id, hint=several)
    return _run(rows[0])


def list_runs(
    metadata: Metadata,
    kind: str | None = None,
    limit: int = 100,
    *,
    name: str | None = None,
    state: str | None = None,
    offset: int = 0,
) -> list[Run]:
    """The newest runs first; of one kind, name or state as it was recorded."""
    query = select(runs).order_by(runs.c.started_at.desc()).limit(limit).offset(offset)
    with metadata.read() as connection:
        return [_run(row) for row in connection.execute(query.where(*_such(kind, name, state))).mappings()]


def runs_before(metadata: Metadata, before: datetime) -> list[Run]:
    """Every run that is over, and ended before a moment, oldest first; one that is lost ended when it began."""
    ended = func.coalesce(runs.c.ended_at, runs.c.started_at)
    query = select(runs).where(ended < microseconds(before)).order_by(runs.c.started_at)
    with metadata.read() as connection:
        found = [_run(row) for row in connection.execute(query).mappings()]
    return [one for one in found if one.state != "running"]


def delete_runs(metadata: Metadata, ids: Sequence[str], **why: Any) -> None:
    """Forget runs and what they measured; what their steps made stays, for whoever needs the same."""
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        with metadata.begin() as connection:
            connection.execute(run_metrics.delete().where(run_metrics.c.run_id.in_(some)))
            connection.execute(runs.delete().where(runs.c.id.in_(some)))
            record(connection, "expire runs", "runs", runs=list(some), **why)


def run_ids(metadata: Metadata) -> set[str]:
    """The ids of all runs."""
    with metadata.read() as connection:
        return set(connection.execute(select(runs.c.id)).scalars())


def count_runs(
    metadata: Metadata, kind: str | None = None, *, name: str | None = None, state: str | None = None
) -> int:
    query = select(func.count()).select_from(runs).where(*_such(kind, name, state))
    with metadata.read() as connection:
        return int(connection.execute(query).scalar_one())


def _such(kind: str | None, name: str | None, state: str | None) -> list[ColumnElement[bool]]:
    asked = ((runs.c.kind, kind), (runs.c.name, name), (runs.c.state, state))
    return [column == value for column, value in asked if value is not None]


def recorded_step(metadata: Metadata, key: str) -> RecordedStep | None:
    """The step that was completed under this key, if any."""
    with metadata.begin() as connection:
        row = connection.execute(select(steps).where(steps.c.key == key)).mappings().one_or_none()
    return _step(row) if row is not None else None


def steps_of(metadata: Metadata, run_id: str) -> list[RecordedStep]:
    """The steps that a run did itself, in their order: those that were remembered are of other runs."""
    query = select(steps).where(steps.c.run_id == run_id).order_by(steps.c.started_at)
    with metadata.read() as connection:
        return [_step(row) for row in connection.execute(query).mappings()]


def record_step(
    metadata: Metadata, key: str, name: str, run_id: str, started_at: datetime, outputs: dict[str, Any]
) -> None:
    """Record a completed step; a second record of one key replaces the first."""
    values = {"name": name, "run_id": run_id, "outputs": outputs}
    times = {"started_at": microseconds(started_at), "ended_at": microseconds(now())}
    with metadata.begin() as connection:
        connection.execute(steps.delete().where(steps.c.key == key))
        connection.execute(insert(steps).values(key=key, **values, **times))


def _step(row: Any) -> RecordedStep:
    times = {k: from_microseconds(row[k]) for k in ("started_at", "ended_at")}
    return RecordedStep(**{**row, **times})


def _end(metadata: Metadata, event: RunEvent, state: str, error: str | None) -> None:
    values = {"state": state, "error": error, "ended_at": microseconds(now())}
    with metadata.begin() as connection:
        connection.execute(update(runs).where(runs.c.id == event.run_id).values(**values))
    metadata.tell(replace(event, state=state, error=error))


def _run(row: Any) -> Run:
    ended = from_microseconds(row["ended_at"]) if row["ended_at"] is not None else None
    values = dict(row)
    host, number, began = (values.pop(name) for name in ("host", "process", "began"))
    process = Process(host, number, began) if host is not None else None
    if values["state"] == "running" and process is not None and not process.is_alive:
        values["state"] = "lost"
    return Run(**{**values, "started_at": from_microseconds(row["started_at"]), "ended_at": ended}, process=process)
