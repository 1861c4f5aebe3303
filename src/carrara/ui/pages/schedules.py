"""Schedules: what ran, what will run, what failed."""

from __future__ import annotations

from typing import Any

from carrara.metadata.intervals import Interval, list_intervals
from carrara.pipelines.schedule_health import health_of
from carrara.pipelines.scheduler import due, next_moment, scheduled, scheduled_monitors
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

_LAST = 30


def index(desk: Desk, asked: Asked) -> Page:
    stores, definitions = desk.workspace.stores, desk.definitions()
    everything = [*scheduled(definitions), *scheduled_monitors(stores, definitions)]
    shown = everything[asked.offset : asked.offset + PAGE_ROWS]
    rows = []
    for one in shown:
        last = list_intervals(stores.metadata, one.kind, one.name, limit=_LAST)
        waiting, stands = due(stores, one, asked.at), health_of(stores, one)
        rows.append(
            {
                "kind": one.kind,
                "name": one.name,
                "schedule": one.schedule,
                "next": next_moment(stores, one),
                "due": len(waiting),
                "state": "late" if stands.health == "late" else _state(last, bool(waiting)),
                "health": stands.health,
                "error": last[0].error if last else None,
                "last": [_told(interval) for interval in reversed(last)],
            }
        )
    coming = sorted((row["next"], row["name"], row["kind"]) for row in rows if row["next"] is not None)[:10]
    data: dict[str, Any] = {
        "schedules": rows,
        "coming": [{"at": at, "name": name, "kind": kind} for at, name, kind in coming],
        **paged(asked, len(everything)),
    }
    return Page("schedules.html.j2", "Schedules", data, live=True)


def _state(last: list[Interval], waiting: bool) -> str:
    if not last:
        return "due" if waiting else "absent"
    return last[0].state if last[0].state != "complete" or not waiting else "due"


def _told(interval: Interval) -> dict[str, Any]:
    kept = ("until", "state", "attempts", "started_at", "ended_at", "error")
    return {name: getattr(interval, name) for name in kept}
