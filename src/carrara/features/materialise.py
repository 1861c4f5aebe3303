"""Materialise: brings the online store up to a time, with what was known by then.

An online row is a function of a view's feature table, of what was pushed since, and of a time; so a writer that is
killed anywhere and run again, or that runs beside others, leaves the same rows. A writer first claims what it will
write by the table's mark, then swaps rows that are still as it has read them, then completes the mark. One that finds
a later claim stops: an older row never overwrites a newer one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

import msgspec

from carrara.core.clock import from_microseconds, microseconds
from carrara.core.html import html_table
from carrara.core.metrics import MATERIALISATION_SECONDS, MATERIALISED_ENTITIES
from carrara.features.engines.base import feature_engine
from carrara.features.entities import Entity
from carrara.features.offline import current_table, whole_number_keys
from carrara.features.online import Mark, Superseded, move_mark, online_table, read_mark
from carrara.features.service import StoredView
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class Materialised:
    """What one call did: entities written, and the times it covers, `since` (exclusive) to `until`."""

    view: str
    entities: int
    since: datetime | None
    until: datetime

    def _repr_html_(self) -> str:
        return html_table(self.view, ["entities", "since", "until"], [(self.entities, self.since, self.until)])


def materialise(
    stores: Stores, view: StoredView, entity: Entity, until: datetime, *, rebuild: bool = False
) -> Materialised:
    """Write what the newest feature table and pushes say of `view` up to `until`, late and corrected rows included.

    Where the store is there already, it does nothing. `rebuild` writes every entity anew, as it was at `until`.
    """
    table, began = online_table(view, entity), time.perf_counter()
    while True:
        before, source = read_mark(stores.online, table), current_table(stores, view)
        former = before or Mark(microseconds(until), 0)
        target = microseconds(until) if rebuild else max(microseconds(until), former.until)
        same = former.table == source.version
        numbers = former.numbers if same else whole_number_keys(stores, entity, source)
        claim = msgspec.structs.replace(former, until=target, table=source.version, numbers=numbers)
        since = None if former.since is None else from_microseconds(former.since)
        if claim.complete and not rebuild:
            return Materialised(view.name, 0, since, until)
        if not move_mark(stores.online, table, before, claim):
            continue
        try:
            written = feature_engine(stores).write_online(stores, view, entity, source, claim, rebuild)
        except Superseded:
            continue
        if move_mark(stores.online, table, claim, claim.completed):
            MATERIALISATION_SECONDS.labels(view.name).observe(time.perf_counter() - began)
            MATERIALISED_ENTITIES.labels(view.name).inc(written)
            return Materialised(view.name, written, since, until)
