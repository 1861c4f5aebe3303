"""The point-in-time join: to each label, what was known of its entity at its time.

For each label the newest feature row with event time ≤ the label's time and created time ≤ the label's time,
unless it is older than the view's TTL.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from carrara.core.clock import duration
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.offline import EVENT_TIME, KNOWN_AT, event_columns
from carrara.features.views import FeatureView
from carrara.features.windows import Events, window_values


def join_rows(labels: pl.DataFrame, time: str, view: FeatureView, entity: Entity, table: pl.LazyFrame) -> pl.DataFrame:
    """The view's features for each row of `labels`, in its order, as columns `view:feature`.

    `table` is prepared (features.offline), so that what was known last is also what is newest.
    """
    left = labels.select(*entity.keys, pl.col(time).alias("__at")).with_row_index("__row").sort("__at")
    right = table.collect().sort(KNOWN_AT)
    joined = left.join_asof(
        right,
        left_on="__at",
        right_on=KNOWN_AT,
        by=list(entity.keys),
        strategy="backward",
        check_sortedness=False,
    ).sort("__row")
    fresh = pl.col(EVENT_TIME).is_not_null()
    if view.ttl is not None:
        fresh &= pl.col("__at") - pl.col(EVENT_TIME) <= duration(view.ttl)
    given = {name: feature.default for name, feature in view.declared.items()}
    return joined.select(
        pl.when(fresh)
        .then(pl.col(name))
        .fill_null(pl.lit(default))
        .cast(right.schema[name])
        .alias(f"{view.name}:{name}")
        if default is not None
        else pl.when(fresh).then(pl.col(name)).alias(f"{view.name}:{name}")
        for name, default in given.items()
    )


def join_windows(
    labels: pl.DataFrame, time: str, view: AggregateView, entity: Entity, table: pl.LazyFrame
) -> pl.DataFrame:
    """The aggregate view's features for each row of `labels`, in its order, as columns `view:feature`."""
    events = table.collect()
    keys = events.select(entity.keys).unique(maintain_order=True).with_row_index("__code")
    codes = _codes(events, keys, entity)
    moments = labels[time].dt.timestamp("us").to_numpy()
    values = window_values(view, Events(codes, *event_columns(view, events)), _codes(labels, keys, entity), moments)
    return pl.DataFrame({f"{view.name}:{name}": pl.Series(v).fill_nan(None) for name, v in values.items()})


def _codes(frame: pl.DataFrame, keys: pl.DataFrame, entity: Entity) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found = frame.select(entity.keys).join(keys, on=list(entity.keys), how="left", maintain_order="left")
    return found["__code"].cast(pl.Int64).fill_null(-1).to_numpy()
