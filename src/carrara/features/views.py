"""Feature views: a function, or a query, from a dataset to features per entity and event time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrara.core.clock import duration
from carrara.core.digests import digest_function
from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule
from carrara.features.feature import Feature, declared_features
from carrara.features.streams.base import Stream


@dataclass(frozen=True)
class FeatureView:
    """Features of an entity that a function, or a query, computes from a dataset; calling it calls the function.

    The function takes the dataset as a narwhals LazyFrame and returns a frame with the entity's keys, the
    event time, the created time when one is named, and the declared features. A query is in the dialect of the
    workspace's engine (DuckDB on the local one), and finds the dataset under its name.

    >>> FeatureView("plane", entity="plane", source="planes", event_time="since", features={"seats": "int64"},
    ...             sql="SELECT tailnum, since, seats FROM planes").feature_types
    {'seats': 'int64'}
    """

    name: str
    entity: str
    source: str
    event_time: str
    features: Mapping[str, str | Feature]
    function: Callable[..., Any] | None = None
    ttl: str | None = None
    created_time: str | None = None
    sql: str = ""
    schedule: str | None = None
    stream: Stream | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    kind = "feature view"

    def __post_init__(self) -> None:
        if (self.function is None) == (not self.sql):
            raise DefinitionError(
                f"feature view '{self.name}' needs a function or sql, one of them",
                hint='Decorate a function with @feature_view(…), or write FeatureView(…, sql="SELECT …").',
            )
        if not self.declared:
            raise DefinitionError(f"feature view '{self.name}' declares no features")
        if self.ttl is not None:
            duration(self.ttl)
        if self.schedule is not None:
            Schedule.of(self.schedule)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.function is None:
            raise DefinitionError(f"feature view '{self.name}' is a query, and cannot be called")
        return self.function(*args, **kwargs)

    @cached_property
    def declared(self) -> dict[str, Feature]:
        return declared_features(self.features, self.name)

    @cached_property
    def feature_types(self) -> dict[str, str]:
        return {name: feature.type for name, feature in self.declared.items()}

    def computation(self) -> dict[str, Any]:
        """What the values depend on; the rest of the spec is for people and schedulers."""
        return {
            "entity": self.entity,
            "source": self.source,
            "event_time": self.event_time,
            "created_time": self.created_time,
            "features": {name: feature.meaning() for name, feature in self.declared.items()},
            "ttl": self.ttl,
            **({"function": digest_function(self.function)} if self.function is not None else {"sql": self.sql}),
        }

    def spec(self) -> dict[str, Any]:
        return {
            **self.computation(),
            "features": {name: feature.spec() for name, feature in self.declared.items()},
            "schedule": self.schedule,
            "stream": self.stream.describe() if self.stream is not None else None,
            "description": self.description,
            "owner": self.owner,
            "tags": list(self.tags),
        }


def feature_view(
    *,
    entity: str,
    source: str,
    event_time: str,
    features: Mapping[str, str | Feature],
    ttl: str | None = None,
    created_time: str | None = None,
    schedule: str | None = None,
    stream: Stream | None = None,
    description: str = "",
    owner: str = "",
    tags: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], FeatureView]:
    """Declare a feature view by its function.

    `event_time` is the column that says since when a row is true, `created_time` the one that says since when
    it is known (by default the same), `ttl` how long it stays true, e.g. `"6h"`, `schedule` when a scheduler brings
    it up to date: `"@daily"`, or a cron expression; `stream` gives rows, as the function returns them, in between.

    >>> @feature_view(entity="plane", source="planes", event_time="since", features={"seats": "int64"})
    ... def plane(planes):
    ...     return planes.select("tailnum", "since", "seats")
    >>> plane.name, plane.feature_types
    ('plane', {'seats': 'int64'})
    """

    def declare(function: Callable[..., Any]) -> FeatureView:
        return FeatureView(
            function.__name__,
            entity,
            source,
            event_time,
            features,
            function,
            ttl=ttl,
            created_time=created_time,
            schedule=schedule,
            stream=stream,
            description=description or (function.__doc__ or "").strip().partition("\n")[0],
            owner=owner,
            tags=tags,
        )

    return declare
