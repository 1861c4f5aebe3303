"""From a feature value back to the row that it came from, and to the version of the dataset that held it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from carrara.features.aggregates import AggregateView
from carrara.features.offline import newest_table, scan_table
from carrara.features.rows import EVENT_TIME, KNOWN_AT
from carrara.features.service import ResolvedFeatures
from carrara.metadata.lineage import upstream
from carrara.storage.stores import Stores

_MOST_EVENTS = 10


@dataclass(frozen=True)
class SourceRow:
    """What a view knew of an entity at a time: the newest row, or of an aggregate view the newest events.

    `table` is the version of the feature table, `datasets` what it was computed from.
    """

    view: str
    table: str
    datasets: tuple[str, ...]
    keys: dict[str, Any]
    event_time: datetime
    known_at: datetime
    values: dict[str, Any]
    events: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def source_row(stores: Stores, service: ResolvedFeatures, view_name: str, row: Mapping[str, Any]) -> SourceRow | None:
    """Where the features of a view came from for a logged `row` of keys and `event_time`; None where nothing was known.

    By the view's newest table of the same definition: a row that came late shows as it is known by now.
    """
    view, entity = next((v, e) for v, e in service.stored if v.name == view_name)
    table = newest_table(stores, view)
    if table is None or any(key not in row for key in entity.keys):
        return None
    rows = scan_table(stores, table)
    schema = rows.collect_schema()
    keys = {key: pl.Series([row[key]]).cast(schema[key], strict=False)[0] for key in entity.keys}
    at = row["event_time"]
    known = rows.filter(*(pl.col(key) == value for key, value in keys.items()), pl.col(KNOWN_AT) <= at)
    newest = known.sort(KNOWN_AT, EVENT_TIME, descending=True).head(_MOST_EVENTS).collect().to_dicts()
    if not newest:
        return None
    hidden = {EVENT_TIME, KNOWN_AT, *entity.keys}
    named = [{name: value for name, value in one.items() if name not in hidden} for one in newest]
    events = (
        [{"event_time": one[EVENT_TIME], **values} for one, values in zip(newest, named, strict=True)]
        if isinstance(view, AggregateView)
        else []
    )
    return SourceRow(
        view=view.name,
        table=table.address,
        datasets=tuple(edge.source for edge in upstream(stores.metadata, table.address)),
        keys=keys,
        event_time=newest[0][EVENT_TIME],
        known_at=newest[0][KNOWN_AT],
        values={} if events else named[0],
        events=events,
    )
