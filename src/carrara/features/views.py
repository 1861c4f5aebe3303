"""Feature views: a function from a dataset to features per entity and event time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.clock import duration
from carrara.core.columns import POLARS_TYPES
from carrara.core.digests import digest_function
from carrara.core.errors import NotFoundError


@dataclass(frozen=True)
class FeatureView:
    """Features of an entity that a function computes from a dataset; calling it calls the function.

    The function takes the dataset as a narwhals LazyFrame and returns a frame with the entity's keys, the
    event time, the created time when one is named, and the declared features.
    """

    name: str
    entity: str
    source: str
    event_time: str
    features: Mapping[str, str]
    function: Callable[..., Any]
    ttl: str | None = None
    created_time: str | None = None
    description: str = ""
    owner: str = ""

    kind = "feature view"

    def __post_init__(self) -> None:
        for feature, name in self.features.items():
            if name not in POLARS_TYPES:
                raise NotFoundError("type", name, POLARS_TYPES, where=f"feature '{self.name}:{feature}'")
        if self.ttl is not None:
            duration(self.ttl)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @property
    def feature_types(self) -> dict[str, str]:
        return dict(self.features)

    def spec(self) -> dict[str, Any]:
        return {
            "entity": self.entity,
            "source": self.source,
            "event_time": self.event_time,
            "created_time": self.created_time,
            "features": dict(self.features),
            "ttl": self.ttl,
            "function": digest_function(self.function),
            "description": self.description,
            "owner": self.owner,
        }


def feature_view(
    *,
    entity: str,
    source: str,
    event_time: str,
    features: Mapping[str, str],
    ttl: str | None = None,
    created_time: str | None = None,
    description: str = "",
    owner: str = "",
) -> Callable[[Callable[..., Any]], FeatureView]:
    """Declare a feature view by its function.

    `event_time` is the column that says since when a row is true, `created_time` the one that says since when
    it is known (by default the same), `ttl` how long it stays true, e.g. `"6h"`.

    >>> @feature_view(entity="plane", source="planes", event_time="since", features={"seats": "int64"})
    ... def plane(planes):
    ...     return planes.select("tailnum", "since", "seats")
    >>> plane.name, plane.feature_types
    ('plane', {'seats': 'int64'})
    """

    def declare(function: Callable[..., Any]) -> FeatureView:
        said = description or (function.__doc__ or "").strip().partition("\n")[0]
        return FeatureView(
            function.__name__, entity, source, event_time, features, function, ttl, created_time, said, owner
        )

    return declare
