"""Verification: whether what is online is what the feature tables, the pushes and the time say it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import DataError
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity, key_bytes
from carrara.features.offline import former_table
from carrara.features.online import Mark, Rows, online_table, read_mark
from carrara.features.online_state import online_state
from carrara.features.packing import RowLayout, unpack_events, unpack_rows
from carrara.features.service import StoredView
from carrara.features.windows import window_values
from carrara.storage.stores import Stores

_MOST_AT_ONCE = 10_000


@dataclass(frozen=True)
class Mismatch:
    """One feature of one entity that is not online as it should be."""

    feature: str
    key: dict[str, Any]
    online: Any
    expected: Any


@dataclass(frozen=True)
class Verified:
    """What was compared of a view, and every feature that differs."""

    view: str
    entities: int
    mismatches: tuple[Mismatch, ...]


def verify(stores: Stores, view: StoredView, entity: Entity) -> Verified:
    """Compare every entity's row with what its table and the pushes say, as of the last materialisation.

    Raises DataError where the view was never materialised as it is defined.
    """
    table = online_table(view, entity)
    mark = read_mark(stores.online, table)
    source = former_table(stores, view, mark.since_table) if mark is not None else None
    if mark is None or mark.since is None or mark.since_table is None or source is None:
        raise DataError(
            f"feature view '{view.name}' was never materialised as it is defined now",
            hint=f"carrara feature materialise {view.name}",
        )
    # As if it had never been written: every entity is looked at.
    keys, remake = online_state(stores, view, entity, source, Mark(mark.since, mark.since_table)).remake()
    found: list[Mismatch] = []
    for start in range(0, keys.height, _MOST_AT_ONCE):
        part = keys.slice(start, _MOST_AT_ONCE)
        before = stores.online.read(table, key_bytes(part, entity.keys))
        after = remake(list(range(start, start + part.height)), before)
        differing = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        found += _named(
            view, part[differing], [before[n] for n in differing], [after[n] for n in differing], mark.since
        )
    return Verified(view.name, keys.height, tuple(found))


def _named(view: StoredView, keys: pl.DataFrame, before: Rows, after: Rows, at: int) -> Iterator[Mismatch]:
    online, expected = _values(view, before, at), _values(view, after, at)
    for place, key in enumerate(keys.iter_rows(named=True)):
        for name, values in expected.items():
            told = online[name][place], values[place]
            if told[0] != told[1] and not (told[0] != told[0] and told[1] != told[1]):
                yield Mismatch(f"{view.name}:{name}", key, *(_plain(value) for value in told))


def _values(view: StoredView, rows: Rows, at: int) -> dict[str, Any]:
    if isinstance(view, AggregateView):
        places = np.arange(len(rows))
        return window_values(view, unpack_events(view.columns, rows), places, np.full(len(rows), at))
    layout = RowLayout.of(view)
    unpacked = unpack_rows(layout, rows)
    there = unpacked.there.astype(float)
    columns: dict[str, Any] = {"(row)": there, "(event time)": unpacked.event_times}
    return columns | dict(zip(layout.numbers, unpacked.numbers.T, strict=True)) | unpacked.texts


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
