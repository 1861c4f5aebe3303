"""The state of a view online: what each entity's row should be, by the feature table, the pushes since, and a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from carrara.core.clock import from_microseconds
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.offline import FeatureTable, former_table, read_pushed, scan_table
from carrara.features.online import Mark, Remake, Rows
from carrara.features.packing import RowLayout, newest_rows, pack_events, pack_rows, unpack_events
from carrara.features.rows import EVENT_TIME, KNOWN_AT, event_columns, in_order, with_pushed
from carrara.features.service import StoredView
from carrara.features.views import FeatureView
from carrara.features.windows import Events, joined
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class OnlineState:
    """What a mark claims of a view, from the table that it names, or from the rows of some of its entities.

    Without `rebuild` only what is new since the mark's last completion, and rows that became known later are kept.
    `former` are the keys of entities that may be online and should be no more; `pushed` reads what was pushed since
    the table was computed.
    """

    view: StoredView
    entity: Entity
    claim: Mark
    rebuild: bool
    table: pl.LazyFrame
    former: pl.LazyFrame | None
    pushed: Callable[[], pl.DataFrame | None]

    def remake(self) -> tuple[pl.DataFrame, Remake]:
        """The distinct keys of the entities concerned, and what makes their rows."""
        return self._events(self.view) if isinstance(self.view, AggregateView) else self._rows(self.view)

    def _rows(self, view: FeatureView) -> tuple[pl.DataFrame, Remake]:
        known = self._newest(self._new_in_table().collect())
        keys = self._keys(known, self._pushed())

        def remade(places: list[int], before: Rows) -> Rows:
            pushed = self._pushed()
            state = known if pushed is None else self._newest(with_pushed(view, self.entity, known, pushed))
            packed = self._aligned(keys, state, pack_rows(RowLayout.of(view), state), places)
            return packed if self.rebuild else newest_rows(before, packed)

        return keys, remade

    def _events(self, view: AggregateView) -> tuple[pl.DataFrame, Remake]:
        touched = self._keys(self._new_in_table().select(self.entity.keys).collect(), self._pushed())
        known = (
            self._table_rows()
            .filter(pl.col(EVENT_TIME) > self._horizon(view))
            .join(touched.lazy(), on=list(self.entity.keys), how="semi", nulls_equal=True)
            .collect()
        )

        def remade(places: list[int], before: Rows) -> Rows:
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

        return touched, remade

    def _table_rows(self) -> pl.LazyFrame:
        """All that the table says of the time up to the claimed one."""
        return self.table.filter(pl.col(KNOWN_AT) <= from_microseconds(self.claim.until))

    def _new_in_table(self) -> pl.LazyFrame:
        """The table's rows of the entities to write: those that became known since, or all where the table is another
        one than was last written, since then a late or corrected row may be of any time."""
        if self.rebuild or self.claim.since_table != self.claim.table or self.claim.since is None:
            return self._table_rows()
        return self._table_rows().filter(pl.col(KNOWN_AT) > from_microseconds(self.claim.since))

    def _pushed(self) -> pl.DataFrame | None:
        pushed = self.pushed()
        return None if pushed is None else pushed.filter(pl.col(KNOWN_AT) <= from_microseconds(self.claim.until))

    def _keys(self, *frames: pl.DataFrame | None) -> pl.DataFrame:
        """The distinct entities of these frames, and those that may be online and should be no more."""
        names = list(self.entity.keys)
        parts = [frame.select(names) for frame in frames if frame is not None]
        if self.former is not None:
            parts.append(self.former.select(names).unique().collect())
        if self.rebuild:
            parts.append(self.table.select(names).unique().collect())
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


def online_state(
    stores: Stores, view: StoredView, entity: Entity, source: FeatureTable, claim: Mark, rebuild: bool = False
) -> OnlineState:
    """The state that a mark claims, of all entities."""
    former = former_keys(stores, view, claim, rebuild)
    return OnlineState(
        view,
        entity,
        claim,
        rebuild,
        scan_table(stores, source),
        None if former is None else scan_table(stores, former),
        lambda: read_pushed(stores.lake, view, entity, source),
    )


def former_keys(stores: Stores, view: StoredView, claim: Mark, rebuild: bool) -> FeatureTable | None:
    """The table that was online before, where entities of it may be none of the claimed one."""
    if claim.since_table == claim.table or not (rebuild or isinstance(view, AggregateView)):
        return None
    return former_table(stores, view, claim.since_table)
