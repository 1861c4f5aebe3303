"""Materialise: brings the online store up to a time, with what was known by then.

Incremental from a watermark that the store moves in the same atomic step as the rows it stands for: killed
anywhere and run again, the state is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from carrara.core.clock import from_microseconds, microseconds
from carrara.core.definitions import spec_digest
from carrara.core.digests import digest_data
from carrara.core.html import html_table
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity, key_bytes
from carrara.features.offline import EVENT_TIME, KNOWN_AT, current_table, scan_table
from carrara.features.packing import pack_events, pack_rows, unpack_events, unpack_rows
from carrara.features.service import StoredView
from carrara.features.views import FeatureView
from carrara.storage import Stores


@dataclass(frozen=True)
class Materialised:
    """What one call did: entities written, and the times it covers, `since` (exclusive) to `until`."""

    view: str
    entities: int
    since: datetime | None
    until: datetime

    def _repr_html_(self) -> str:
        return html_table(self.view, ["entities", "since", "until"], [(self.entities, self.since, self.until)])


def online_table(view: StoredView, entity: Entity) -> str:
    """The online table of exactly this definition of a view, by exactly these keys."""
    return f"{view.name}#{digest_data([spec_digest(view), list(entity.keys)])[:12]}"


def materialise(
    stores: Stores, view: StoredView, entity: Entity, until: datetime, *, rebuild: bool = False
) -> Materialised:
    """Write what became known of `view` since the last call, up to `until`.

    Does nothing when the store is there already. `rebuild` starts from nothing, as after a correction of
    rows that were already written. When another writer is faster, its rows count and the rest follow.
    """
    table = online_table(view, entity)
    if rebuild:
        stores.online.clear(table)
    source = scan_table(stores, current_table(stores, view))
    target = microseconds(until)
    while True:
        since = stores.online.watermark(table)
        if since is not None and since >= target:
            return Materialised(view.name, 0, from_microseconds(since), until)
        news = _news(view, source, since, until)
        keys, rows = _state(stores, view, entity, news, target)
        if stores.online.write(table, keys, rows, expected=since, watermark=target):
            return Materialised(view.name, len(keys), from_microseconds(since) if since is not None else None, until)


def _news(view: StoredView, source: pl.LazyFrame, since: int | None, until: datetime) -> pl.DataFrame:
    known = source.filter(pl.col(KNOWN_AT) <= until)
    if since is not None:
        known = known.filter(pl.col(KNOWN_AT) > from_microseconds(since))
    elif isinstance(view, AggregateView):
        known = known.filter(pl.col(KNOWN_AT) > from_microseconds(microseconds(until) - view.longest_window))
    return known.collect()


def _state(
    stores: Stores, view: StoredView, entity: Entity, news: pl.DataFrame, until: int
) -> tuple[list[bytes], list[bytes]]:
    if isinstance(view, AggregateView):
        return _events_state(stores, view, entity, news, until)
    return _rows_state(stores, view, entity, news)


def _rows_state(
    stores: Stores, view: FeatureView, entity: Entity, news: pl.DataFrame
) -> tuple[list[bytes], list[bytes]]:
    newest = news.group_by(entity.keys, maintain_order=True).last()
    keys, rows = key_bytes(newest, entity.keys), pack_rows(view, newest)
    # A source that no longer has an entity's newest row may still bring a late one of before.
    before, there = unpack_rows(view, stores.online.read(online_table(view, entity), keys))
    newer = ~there | (newest[EVENT_TIME].dt.timestamp("us").to_numpy() >= before["event_time"])
    return [k for k, new in zip(keys, newer, strict=True) if new], [
        r for r, new in zip(rows, newer, strict=True) if new
    ]


def _events_state(
    stores: Stores, view: AggregateView, entity: Entity, news: pl.DataFrame, until: int
) -> tuple[list[bytes], list[bytes]]:
    groups = news.group_by(entity.keys, maintain_order=True).len()
    keys = key_bytes(groups, entity.keys)
    times = news[EVENT_TIME].dt.timestamp("us").to_numpy()
    columns = {name: news[name].fill_null(float("nan")).to_numpy() for name in view.columns}
    ends = groups["len"].cum_sum().to_list()
    table, rows = online_table(view, entity), []
    for old, start, end in zip(stores.online.read(table, keys), [0, *ends], ends, strict=False):
        before = unpack_events(view.columns, [old])
        alive = before.times > until - view.longest_window
        joined = {name: np.concatenate([before.columns[name][alive], columns[name][start:end]]) for name in columns}
        rows.append(pack_events(np.concatenate([before.times[alive], times[start:end]]), joined))
    return keys, rows
