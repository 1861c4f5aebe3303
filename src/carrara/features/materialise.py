"""Materialise: brings the online store up to a time, with what was known by then.

An online row is a function of a view's feature table, of what was pushed since, and of a time; so a writer that is
killed anywhere and run again, or that runs beside others, leaves the same rows. A writer first claims what it will
write by the table's mark, then swaps rows that are still as it has read them, then completes the mark. One that finds
a later claim stops: an older row never overwrites a newer one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
import polars as pl

from carrara.core.clock import from_microseconds, microseconds
from carrara.core.html import html_table
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity, key_bytes
from carrara.features.offline import (
    EVENT_TIME,
    KNOWN_AT,
    FeatureTable,
    current_table,
    event_columns,
    former_table,
    in_order,
    read_pushed,
    scan_table,
    whole_number_keys,
    with_pushed,
)
from carrara.features.online import Mark, Rows, move_mark, online_table, read_mark, rewrite
from carrara.features.packing import RowLayout, newest_rows, pack_events, pack_rows, unpack_events
from carrara.features.service import StoredView
from carrara.features.views import FeatureView
from carrara.features.windows import Events, joined
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


def materialise(
    stores: Stores, view: StoredView, entity: Entity, until: datetime, *, rebuild: bool = False
) -> Materialised:
    """Write what the newest feature table and pushes say of `view` up to `until`, late and corrected rows included.

    Where the store is there already, it does nothing. `rebuild` writes every entity anew, as it was at `until`.
    """
    table = online_table(view, entity)
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
            written = _Writing(stores, view, entity, source, claim, rebuild).run()
        except _Overtaken:
            continue
        if move_mark(stores.online, table, claim, claim.completed):
            return Materialised(view.name, written, since, until)


class _Overtaken(Exception):
    """Another writer has claimed something else meanwhile."""


@dataclass(frozen=True)
class _Writing:
    """What one claim stands for, written."""

    stores: Stores
    view: StoredView
    entity: Entity
    source: FeatureTable
    claim: Mark
    rebuild: bool

    def run(self) -> int:
        if isinstance(self.view, AggregateView):
            return self._events(self.view)
        return self._rows(self.view)

    def _rows(self, view: FeatureView) -> int:
        known = self._newest(self._new_in_table().collect())
        keys = self._keys(known, self._pushed())

        def remade(places: list[int], before: Rows) -> Rows:
            self._check()
            pushed = self._pushed()
            state = known if pushed is None else self._newest(with_pushed(view, self.entity, known, pushed))
            packed = self._aligned(keys, state, pack_rows(RowLayout.of(view), state), places)
            return packed if self.rebuild else newest_rows(before, packed)

        return rewrite(self.stores.online, self._table, key_bytes(keys, self.entity.keys), remade)

    def _events(self, view: AggregateView) -> int:
        touched = self._keys(self._new_in_table().select(self.entity.keys).collect(), self._pushed())
        known = (
            self._table_rows()
            .filter(pl.col(EVENT_TIME) > self._horizon(view))
            .join(touched.lazy(), on=list(self.entity.keys), how="semi", nulls_equal=True)
            .collect()
        )

        def remade(places: list[int], before: Rows) -> Rows:
            self._check()
            chosen = touched[places].with_row_index("__code")
            state, pushed = known, self._pushed()
            if pushed is not None:
                pushed = pushed.filter(pl.col(EVENT_TIME) > self._horizon(view))
                state = with_pushed(view, self.entity, known, pushed).sort(in_order(view, self.entity))
            found = chosen.join(state, on=list(self.entity.keys), maintain_order="left_right", nulls_equal=True)
            events = Events(found["__code"].cast(pl.Int64).to_numpy(), *event_columns(view, found))
            if not self.rebuild:
                later = unpack_events(view.columns, before)
                events = joined(events, later[later.known > self.claim.until])
            return pack_events(events, len(places))

        return rewrite(self.stores.online, self._table, key_bytes(touched, self.entity.keys), remade)

    @property
    def _table(self) -> str:
        return online_table(self.view, self.entity)

    def _table_rows(self) -> pl.LazyFrame:
        """All that the table says of the time up to the claimed one."""
        return scan_table(self.stores, self.source).filter(pl.col(KNOWN_AT) <= from_microseconds(self.claim.until))

    def _new_in_table(self) -> pl.LazyFrame:
        """The table's rows of the entities to write: those that became known since, or all where the table is another
        one than was last written, since then a late or corrected row may be of any time."""
        if self.rebuild or self.claim.since_table != self.claim.table or self.claim.since is None:
            return self._table_rows()
        return self._table_rows().filter(pl.col(KNOWN_AT) > from_microseconds(self.claim.since))

    def _pushed(self) -> pl.DataFrame | None:
        pushed = read_pushed(self.stores, self.view, self.entity, self.source)
        return None if pushed is None else pushed.filter(pl.col(KNOWN_AT) <= from_microseconds(self.claim.until))

    def _keys(self, *frames: pl.DataFrame | None) -> pl.DataFrame:
        """The distinct entities of these frames, and those that may be online and should be no more."""
        names = list(self.entity.keys)
        parts = [frame.select(names) for frame in frames if frame is not None]
        changed = self.claim.since_table != self.claim.table
        if changed and (self.rebuild or isinstance(self.view, AggregateView)):
            former = former_table(self.stores, self.view, self.claim.since_table)
            if former is not None:
                parts.append(scan_table(self.stores, former).select(names).unique().collect())
        if self.rebuild:
            parts.append(scan_table(self.stores, self.source).select(names).unique().collect())
        return pl.concat(parts, how="vertical_relaxed").unique(maintain_order=True)

    def _newest(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.sort(EVENT_TIME, KNOWN_AT).group_by(self.entity.keys, maintain_order=True).last()

    def _aligned(self, keys: pl.DataFrame, state: pl.DataFrame, packed: list[bytes], places: list[int]) -> Rows:
        """The packed rows of `state` in the order of keys, for these places of them."""
        names = list(self.entity.keys)
        found = keys[places].join(
            state.select(names).with_row_index("__row"), on=names, how="left", maintain_order="left", nulls_equal=True
        )
        return [None if row is None else packed[row] for row in found["__row"].to_list()]

    def _horizon(self, view: AggregateView) -> datetime:
        return from_microseconds(self.claim.until - view.longest_window)

    def _check(self) -> None:
        if read_mark(self.stores.online, self._table) != self.claim:
            raise _Overtaken
