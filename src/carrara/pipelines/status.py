"""How fresh every feature view is, offline and online, and what its schedule did and will do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carrara.core.clock import from_microseconds
from carrara.core.definitions import Definitions
from carrara.features.offline import newest_table, push_log
from carrara.features.online import online_table, read_mark
from carrara.features.service import StoredView
from carrara.features.streams.run import dead_letters
from carrara.metadata.intervals import list_intervals
from carrara.pipelines.prepare import entity_of
from carrara.pipelines.scheduler import KIND, due, next_moment
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class FeatureStatus:
    """One view: its table, up to when it is online, and its schedule.

    `state` is `fresh`, `stale` (the online store is behind the table, or a run is due), `failed` (the last run), or
    `absent` (never materialised as it is defined). `age_seconds` is how far the online store is behind the clock.
    """

    view: str
    state: str
    computed_at: datetime | None
    rows: int | None
    online_until: datetime | None
    age_seconds: float | None
    pushed: bool
    dead_letters: int
    schedule: str | None
    next_run: datetime | None
    intervals_due: int
    last_run: datetime | None
    last_state: str | None
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def feature_status(stores: Stores, definitions: Definitions, views: Iterable[StoredView]) -> list[FeatureStatus]:
    """The status of each view, as of the clock."""
    return [_status(stores, definitions, view) for view in views]


def _status(stores: Stores, definitions: Definitions, view: StoredView) -> FeatureStatus:
    now = stores.clock()
    table = newest_table(stores, view)
    mark = read_mark(stores.online, online_table(view, entity_of(definitions, view)))
    until = from_microseconds(mark.since) if mark is not None and mark.since is not None else None
    last = list_intervals(stores.metadata, KIND, view.name, limit=1)
    waiting = len(due(stores, view, now)) if view.schedule is not None else 0
    behind = table is not None and mark is not None and mark.since_table != table.version
    failed = bool(last) and last[0].state == "failed"
    state = "absent" if until is None else "failed" if failed else "stale" if waiting or behind else "fresh"
    return FeatureStatus(
        view=view.name,
        state=state,
        computed_at=table.computed_at if table is not None else None,
        rows=table.rows if table is not None else None,
        online_until=until,
        age_seconds=(now - until).total_seconds() if until is not None else None,
        pushed=stores.lake.exists(push_log(view)),
        dead_letters=dead_letters(stores, view).height,
        schedule=view.schedule,
        next_run=next_moment(stores, view),
        intervals_due=waiting,
        last_run=last[0].started_at if last else None,
        last_state=last[0].state if last else None,
        error=last[0].error if last else None,
    )
