"""Retrieval: a service's features for entity keys, read online and completed on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import UTC_TIME
from carrara.core.errors import DataError
from carrara.core.html import html_table
from carrara.core.stages import stage
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity, key_bytes
from carrara.features.fallback import FallbackReader
from carrara.features.on_demand import OnDemandView, run_on_demand
from carrara.features.online import Rows, online_table, read_mark
from carrara.features.packing import NO_TIME, unpack_events
from carrara.features.request import as_request
from carrara.features.service import Policy, ResolvedFeatures
from carrara.features.stored_views import StoredViews
from carrara.features.views import FeatureView
from carrara.features.windows import window_values
from carrara.storage.online.base import OnlineStore

Array = np.ndarray[Any, Any]
_MICROSECONDS_A_DAY = 86_400_000_000
_MOST_SHOWN = 50


@dataclass(frozen=True)
class FeatureValues(Mapping[str, Array]):
    """Feature columns by `view:feature`, one value a row: float64 with NaN for missing, objects for texts.

    The `columns` are one matrix (`Columns`) where all of them are stored numbers.
    `event_times` has each feature view's event time of each row in microseconds (NO_TIME where it has none);
    `fallbacks` names the views for which the online store did not answer, with the policy that was taken.
    """

    columns: Mapping[str, Array]
    event_times: Mapping[str, Array]
    fallbacks: Mapping[str, str]

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def to_polars(self) -> pl.DataFrame:
        """The columns as a frame, with `view:event_time` beside them."""
        times = {f"{view}:event_time": _as_times(values) for view, values in self.event_times.items()}
        return pl.DataFrame(
            {
                name: pl.Series(values).fill_nan(None)
                if values.dtype == np.float64
                else pl.Series(values, dtype=pl.String)
                for name, values in self.columns.items()
            }
        ).with_columns(**times)

    def _repr_html_(self) -> str:
        shown = self.to_polars().head(_MOST_SHOWN)
        return html_table("Feature values", shown.columns, shown.rows())


@dataclass(frozen=True)
class Retriever:
    """Reads the features of one service from one online store; one read per view and call. Thread-safe."""

    service: ResolvedFeatures
    online: OnlineStore

    def absent(self) -> list[str]:
        """The views of the service that were never materialised as they are defined."""
        marks = [(view, read_mark(self.online, online_table(view, entity))) for view, entity in self.service.stored]
        return [view.name for view, mark in marks if mark is None or mark.since is None]

    def check(self) -> None:
        """Raise DataError when a view of the service was never materialised as it is defined."""
        if absent := self.absent():
            raise DataError(
                f"not in the online store as this model reads them: {', '.join(absent)}",
                hint=f"carrara feature materialise {' '.join(absent)}",
            )

    def ask(self, entities: Any, now: datetime) -> FeatureValues:
        """The features for entities: a dataframe, a mapping of columns, or a list of mappings, one a row.

        They hold the keys, the request fields, and optionally `event_time` (by default `now`). Raises RequestError
        for a key that is missing, or of another type than what was materialised.
        """
        asked = as_request(self.service, self._whole_numbers, entities, now)
        return self.features(asked.keys, asked.fields, asked.at)

    def features(self, keys: Mapping[str, Array], request: Mapping[str, Array], at: Array) -> FeatureValues:
        """The features of the service, one value a row, as its policy says.

        `keys` and `request` hold a column per key and request field, `at` the time of each row (int64
        microseconds): a row that became known later, or is older than the view's TTL, is missing. Raises
        RequestError where a policy is to fail, and StorageError where the store does not answer.
        """
        fallbacks: dict[str, str] = {}
        found, times = self._stored(keys, at, fallbacks)
        others: dict[str, Array] = {}
        for source in self._events:
            others |= self._of_events(source, keys, at, fallbacks)
        if others or self.service.on_demand:
            found = {**found, **others}
        for on_demand in self.service.on_demand:
            with stage("features.view", view=on_demand.name):
                found = {**found, **self._on_demand(on_demand, keys, request, found)}
        if tuple(found) != self.service.features:
            found = {name: found[name] for name in self.service.features}
        return FeatureValues(found, times, fallbacks)

    def _stored(
        self, keys: Mapping[str, Array], at: Array, fallbacks: dict[str, str]
    ) -> tuple[Mapping[str, Array], dict[str, Array]]:
        """The columns and the event times of the feature views; notes in `fallbacks` which were not answered for."""
        rows, policies = [], []
        for view, table, names in self._tables:
            with stage("features.view", view=view.name):
                some, fallback = self._reader.read(table, key_bytes(keys, names))
            rows.append(some)
            policies.append(Policy() if fallback else self.service.policy)
            if fallback:
                fallbacks[view.name] = fallback
        return self._views.columns(rows, at, policies) if rows else ({}, {})

    def _of_events(
        self, source: _EventSource, keys: Mapping[str, Array], at: Array, fallbacks: dict[str, str]
    ) -> dict[str, Array]:
        with stage("features.view", view=source.view.name):
            # An entity's events may be many: each is read and unpacked once.
            wanted = key_bytes(keys, source.entity.keys)
            codes = {key: code for code, key in enumerate(dict.fromkeys(wanted))}
            rows, fallback = self._reader.read(source.table, list(codes))
            if fallback:
                fallbacks[source.view.name] = fallback
            places = np.fromiter((codes[key] for key in wanted), np.int64, len(wanted))
            return source.columns(rows, places, at, known=fallback != "default")

    def _on_demand(
        self, view: OnDemandView, keys: Mapping[str, Array], request: Mapping[str, Array], found: Mapping[str, Array]
    ) -> dict[str, Array]:
        columns = {field: request[field] if field in request else keys[field] for field in view.request}
        for reference in view.inputs:
            columns[reference.partition(":")[2]] = _as_declared(found[reference], self._types.get(reference))
        return {f"{view.name}:{name}": column for name, column in run_on_demand(view, columns).items()}

    @cached_property
    def _tables(self) -> list[tuple[FeatureView, str, tuple[str, ...]]]:
        """The feature views, with where their rows are, and by which keys."""
        stored = self.service.stored
        return [(v, online_table(v, e), e.keys) for v, e in stored if not isinstance(v, AggregateView)]

    @cached_property
    def _views(self) -> StoredViews:
        return StoredViews(tuple(view for view, _, _ in self._tables), self.service.features)

    @cached_property
    def _events(self) -> list[_EventSource]:
        stored = self.service.stored
        return [
            _EventSource(v, entity, online_table(v, entity)) for v, entity in stored if isinstance(v, AggregateView)
        ]

    @cached_property
    def _whole_numbers(self) -> dict[str, bool]:
        """Which keys are whole numbers; those of a view that was never materialised are left out."""
        marks = [(entity, read_mark(self.online, online_table(view, entity))) for view, entity in self.service.stored]
        return {key: key in mark.numbers for entity, mark in marks if mark is not None for key in entity.keys}

    @cached_property
    def _reader(self) -> FallbackReader:
        return FallbackReader(self.online, self.service.policy.unavailable)

    @cached_property
    def _types(self) -> dict[str, str]:
        """The declared type of each stored feature."""
        return {f"{v.name}:{name}": type_ for v, _ in self.service.stored for name, type_ in v.feature_types.items()}


@dataclass(frozen=True)
class _EventSource:
    """An aggregate view as it is read."""

    view: AggregateView
    entity: Entity
    table: str

    def columns(self, rows: Rows, places: Array, at: Array, *, known: bool) -> dict[str, Array]:
        """The features at `places` among the rows; none where nothing is known, since no events are not 0 events."""
        values = window_values(self.view, unpack_events(self.view.columns, rows), places, at)
        nothing = np.full(len(places), np.nan)
        return {f"{self.view.name}:{name}": values[name] if known else nothing for name in self.view.feature_types}


def _as_times(values: Array) -> pl.Series:
    return pl.Series(values.view("datetime64[us]")).dt.replace_time_zone("UTC").cast(UTC_TIME)


def _as_declared(values: Array, type_: str | None) -> Array:
    """A feature as on-demand functions take it (see `as_numpy`): a time as datetime64[us]."""
    if type_ not in ("datetime", "date"):
        return values
    unit = _MICROSECONDS_A_DAY if type_ == "date" else 1
    whole = np.where(np.isnan(values), NO_TIME, values * unit).astype(np.int64)
    return whole.view("datetime64[us]")
