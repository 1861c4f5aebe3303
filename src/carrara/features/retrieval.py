"""Retrieval: a service's features for entity keys, read online and completed on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from carrara.core.clock import duration, microseconds
from carrara.core.errors import DataError
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity, key_bytes
from carrara.features.on_demand import run_on_demand
from carrara.features.online import online_table, read_mark
from carrara.features.packing import unpack_events, unpack_rows
from carrara.features.service import FeatureService
from carrara.features.views import FeatureView
from carrara.features.windows import window_values
from carrara.storage.online.base import OnlineStore

Array = np.ndarray[Any, Any]
_MICROSECONDS_A_DAY = 86_400_000_000
_NO_TIME = np.iinfo(np.int64).min
"""How NumPy writes a missing time."""


@dataclass(frozen=True)
class Retriever:
    """Reads the features of one service from one online store; one read per view and call."""

    service: FeatureService
    online: OnlineStore

    def absent(self) -> list[str]:
        """The views of the service that were never materialised as they are defined."""
        views = [(view, online_table(view, entity)) for view, entity in self.service.stored]
        marks = [(view, read_mark(self.online, table)) for view, table in views]
        return [view.name for view, mark in marks if mark is None or mark.since is None]

    def check(self) -> None:
        """Raise DataError when a view of the service was never materialised as it is defined."""
        if absent := self.absent():
            raise DataError(
                f"not in the online store as this model reads them: {', '.join(absent)}",
                hint=f"carrara feature materialise {' '.join(absent)}",
            )

    def features(self, keys: Mapping[str, Array], request: Mapping[str, Array], at: Array) -> dict[str, Array]:
        """Each feature `view:feature` of the service, float64 with NaN for missing, one value a row.

        `keys` and `request` hold a column per key and request field, `at` the time of each row (int64
        microseconds): a row that became known later, or is older than the view's TTL, is missing.
        """
        found: dict[str, Array] = {}
        for view, entity in self.service.stored:
            if isinstance(view, AggregateView):
                values = self._windows(view, entity, keys, at)
            else:
                values = self._rows(view, entity, keys, at)
            found.update({f"{view.name}:{name}": column for name, column in values.items()})
        for on_demand in self.service.on_demand:
            columns = {field: request[field] if field in request else keys[field] for field in on_demand.request}
            columns |= {
                reference.partition(":")[2]: _as_declared(found[reference], self._types.get(reference))
                for reference in on_demand.inputs
            }
            made = run_on_demand(on_demand, columns)
            found.update({f"{on_demand.name}:{name}": column for name, column in made.items()})
        return {name: found[name] for name in self.service.features}

    @cached_property
    def _types(self) -> dict[str, str]:
        """The declared type of each stored feature; what on-demand views make is numbers."""
        return {f"{v.name}:{name}": type_ for v, _ in self.service.stored for name, type_ in v.feature_types.items()}

    def _rows(self, view: FeatureView, entity: Entity, keys: Mapping[str, Array], at: Array) -> dict[str, Array]:
        rows = self.online.read(online_table(view, entity), key_bytes(keys, entity.keys))
        records, there = unpack_rows(view, rows)
        fresh = there & (records["known_at"] <= at)
        if view.ttl is not None:
            fresh &= at - records["event_time"] <= microseconds(duration(view.ttl))
        return {name: np.where(fresh, records[name], np.nan) for name in view.features}

    def _windows(self, view: AggregateView, entity: Entity, keys: Mapping[str, Array], at: Array) -> dict[str, Array]:
        wanted = key_bytes(keys, entity.keys)
        codes = {key: code for code, key in enumerate(dict.fromkeys(wanted))}
        events = unpack_events(view.columns, self.online.read(online_table(view, entity), list(codes)))
        return window_values(view, events, np.fromiter((codes[key] for key in wanted), np.int64, len(wanted)), at)


def _as_declared(values: Array, type_: str | None) -> Array:
    """A feature as on-demand functions take it (see `training_set.as_numpy`): a time as datetime64[us]."""
    if type_ not in ("datetime", "date"):
        return values
    unit = _MICROSECONDS_A_DAY if type_ == "date" else 1
    whole = np.where(np.isnan(values), _NO_TIME, values * unit).astype(np.int64)
    return whole.view("datetime64[us]")
