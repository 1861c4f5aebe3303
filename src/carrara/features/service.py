"""Feature services: the features that one model version reads, resolved from references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrara.core.definitions import Definitions, spec_digest
from carrara.core.errors import DefinitionCycle, DefinitionError, NotFoundError
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.on_demand import OnDemandView
from carrara.features.views import FeatureView

StoredView = FeatureView | AggregateView
View = StoredView | OnDemandView


@dataclass(frozen=True)
class FeatureService:
    """Features in a fixed order, the views that make them (inputs before users), and their entities."""

    features: tuple[str, ...]
    stored: tuple[tuple[StoredView, Entity], ...]
    on_demand: tuple[OnDemandView, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key columns that a request must give, each once."""
        return tuple(dict.fromkeys(key for _, entity in self.stored for key in entity.keys))

    @cached_property
    def request(self) -> dict[str, str]:
        """The request fields that a request must give, with their types."""
        fields: dict[str, str] = {}
        for view in self.on_demand:
            fields.update(view.request)
        return {name: type_ for name, type_ in fields.items() if name not in self.keys}

    def spec(self) -> dict[str, Any]:
        """Plain data that names every feature and the exact definition behind it."""
        views = {view.name: spec_digest(view) for view, _ in self.stored}
        views |= {view.name: spec_digest(view) for view in self.on_demand}
        return {
            "features": list(self.features),
            "views": views,
            "keys": list(self.keys),
            "request": self.request,
        }


def resolve_features(definitions: Definitions, references: tuple[str, ...], *, where: str) -> FeatureService:
    """The service of references such as `weather:temp`, or `weather` for all features of a view.

    Raises NotFoundError with the nearest right name, DefinitionCycle when on-demand views need each other.
    """
    features: list[str] = []
    views: dict[str, View] = {}
    for reference in references:
        view = _view(definitions, reference, where)
        features += _features_of(view, reference, where)
        for needed in _with_inputs(definitions, view, (), where):
            views[needed.name] = needed
    if len(set(features)) != len(features):
        twice = next(name for name in features if features.count(name) > 1)
        raise DefinitionError(f"{where} names the feature '{twice}' twice", hint="Remove one of them.")
    stored = [
        (view, definitions.get("entity", view.entity, Entity, where=f"feature view '{view.name}'"))
        for view in views.values()
        if not isinstance(view, OnDemandView)
    ]
    on_demand = [view for view in views.values() if isinstance(view, OnDemandView)]
    return FeatureService(tuple(features), tuple(stored), tuple(on_demand))


def _view(definitions: Definitions, reference: str, where: str) -> View:
    views = {**definitions.of_kind("feature view"), **definitions.of_kind("on-demand view")}
    name = reference.partition(":")[0]
    if name not in views:
        raise NotFoundError("feature view", name, views, where=where)
    view: View = views[name]
    return view


def _features_of(view: View, reference: str, where: str) -> list[str]:
    _, separator, feature = reference.partition(":")
    known = [f"{view.name}:{name}" for name in view.feature_types]
    if not separator:
        return known
    if feature not in view.feature_types:
        raise NotFoundError("feature", reference, known, where=where)
    return [reference]


def _with_inputs(definitions: Definitions, view: View, path: tuple[str, ...], where: str) -> Iterator[View]:
    if view.name in path:
        raise DefinitionCycle([*path[path.index(view.name) :], view.name])
    if isinstance(view, OnDemandView):
        for reference in view.inputs:
            place = f"on-demand view '{view.name}'"
            needed = _view(definitions, reference, place)
            _features_of(needed, reference, place)
            yield from _with_inputs(definitions, needed, (*path, view.name), where)
    yield view
