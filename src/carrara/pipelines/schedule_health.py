"""Whether what has a schedule is done in time: red when the oldest of what is due grows old, whoever should do it.

Read from what is recorded alone, so that a scheduler that died, hangs or was never started turns it red by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from carrara.core.definitions import Definitions
from carrara.core.metrics import SCHEDULE_DUE_SINCE
from carrara.metadata.intervals import list_intervals
from carrara.monitoring.measured import measure_windows
from carrara.pipelines.freshness import measure_freshness
from carrara.pipelines.monitor import monitors
from carrara.pipelines.scheduler import Timed, next_moment, scheduled, scheduled_monitors, undone
from carrara.storage.stores import Stores

LATE = timedelta(minutes=5)
"""For so long something may be due before nobody seems to look after it."""

Health = Literal["ok", "late", "failing", "unknown"]


@dataclass(frozen=True)
class ScheduleHealth:
    """How one schedule stands. `health` is `ok` where everything is done or being done, or is due for less than LATE;
    `late` where nobody does it; `failing` where the last run failed; `unknown` where it never ran: it is not healthy.

    `due_since` is the oldest moment that is not done, `due` how many there are.
    """

    kind: str
    name: str
    schedule: str
    health: Health
    due_since: datetime | None
    due: int
    next: datetime | None
    error: str | None

    @property
    def is_red(self) -> bool:
        return self.health in ("late", "failing")

    def as_dict(self) -> dict[str, Any]:
        times = {name: one and one.isoformat() for name, one in (("due_since", self.due_since), ("next", self.next))}
        return {**vars(self), **times}


def schedule_health(stores: Stores, definitions: Definitions) -> list[ScheduleHealth]:
    """Everything that has a schedule, the red ones first, and of these the oldest."""
    found = [health_of(stores, one) for one in [*scheduled(definitions), *scheduled_monitors(stores, definitions)]]
    order = ("failing", "late", "unknown", "ok")
    return sorted(found, key=lambda one: (order.index(one.health), one.due_since or stores.clock(), one.name))


def health_of(stores: Stores, view: Timed) -> ScheduleHealth:
    """How the schedule of one view, model or monitor stands."""
    now = stores.clock()
    last = list_intervals(stores.metadata, view.kind, view.name, limit=1)
    waiting = undone(stores, view, now)
    is_running = bool(last) and last[0].state == "running" and last[0].lease_until > now
    health: Health = "ok"
    if not last:
        health = "unknown"
    elif last[0].state == "failed":
        health = "failing"
    elif waiting and not is_running and now - waiting[0] > LATE:
        health = "late"
    return ScheduleHealth(
        kind=view.kind,
        name=view.name,
        schedule=view.schedule or "",
        health=health,
        due_since=waiting[0] if waiting else None,
        due=len(waiting),
        next=next_moment(stores, view),
        error=last[0].error if last else None,
    )


def measure_schedules(stores: Stores, definitions: Definitions) -> None:
    """Tell Prometheus how old features are, how the newest windows stand, and since when what is due is due: as times,
    which age though this process may hang."""
    measure_freshness(stores, definitions)
    measure_windows(stores, monitors(stores, definitions))
    SCHEDULE_DUE_SINCE.clear()
    for one in schedule_health(stores, definitions):
        if one.due_since is not None:
            SCHEDULE_DUE_SINCE.labels(one.kind, one.name).set(one.due_since.timestamp())
