"""The point-in-time join: to each label, what was known of its entity at its time.

For each label the newest feature row with event time ≤ the label's time and created time ≤ the label's time,
unless it is older than the view's TTL.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from carrara.core.clock import duration, microseconds
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.rows import EVENT_TIME, KNOWN_AT, event_columns
from carrara.features.search import TimeIndex, entity_codes
from carrara.features.service import StoredView
from carrara.features.views import FeatureView
from carrara.features.windows import Events, window_values

_MOST_VALUES = 20_000_000
"""How many values of features are in memory at once, beside the keys and times of a table and the result."""


def join_view(labels: pl.DataFrame, time: str, view: StoredView, entity: Entity, table: pl.LazyFrame) -> pl.DataFrame:
    """The view's features for each row of `labels`, in its order, as columns `view:feature`.

    `table` is prepared (features.rows); of its entities only those of labels matter.
    """
    if isinstance(view, AggregateView):
        return join_windows(labels, time, view, entity, table)
    return join_rows(labels, time, view, entity, table)


def join_rows(labels: pl.DataFrame, time: str, view: FeatureView, entity: Entity, table: pl.LazyFrame) -> pl.DataFrame:
    """The view's features for each row of `labels`, in its order, as columns `view:feature`.

    `table` is prepared (features.rows), so that what was known last is also what is newest. Its features are read
    in blocks of columns, so that memory is bounded by its keys and times.
    """
    keys = list(entity.keys)
    index = table.select(*keys, KNOWN_AT, EVENT_TIME).collect()
    codes, asked = entity_codes(index, labels, keys)
    at = labels[time].dt.timestamp("us").to_numpy()
    places = TimeIndex(codes, index[KNOWN_AT].dt.timestamp("us").to_numpy()).after(asked, at) - 1
    found = (asked >= 0) & (places >= 0)
    found &= np.append(codes, -2)[places] == asked
    if view.ttl is not None:
        events = np.append(index[EVENT_TIME].dt.timestamp("us").to_numpy(), 0)
        found &= at - events[places] <= microseconds(duration(view.ttl))
    rows = index.height
    del index, codes, asked
    wanted = pl.Series(np.where(found, places, 0)).cast(pl.UInt32).set(pl.Series(~found), None)
    joined = pl.DataFrame(height=labels.height)
    for names in _blocks(list(view.features), rows):
        joined = joined.hstack(table.select(names).collect().select(pl.all().gather(wanted)))
    return joined.select(
        (pl.col(name) if feature.default is None else pl.col(name).fill_null(pl.lit(feature.default)))
        .cast(joined.schema[name])
        .alias(f"{view.name}:{name}")
        for name, feature in view.declared.items()
    )


def join_windows(
    labels: pl.DataFrame, time: str, view: AggregateView, entity: Entity, table: pl.LazyFrame
) -> pl.DataFrame:
    """The aggregate view's features for each row of `labels`, in its order, as columns `view:feature`."""
    events = table.collect()
    codes, asked = entity_codes(events, labels, list(entity.keys))
    moments = labels[time].dt.timestamp("us").to_numpy()
    values = window_values(view, Events(codes, *event_columns(view, events)), asked, moments)
    return pl.DataFrame({f"{view.name}:{name}": pl.Series(v).fill_nan(None) for name, v in values.items()})


def _blocks(names: list[str], rows: int) -> Iterator[list[str]]:
    size = max(1, _MOST_VALUES // max(rows, 1))
    for start in range(0, len(names), size):
        yield names[start : start + size]
