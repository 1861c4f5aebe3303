"""Feature services: the features that one model version reads, declared by a name or by references, and resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from carrara.core.definitions import Definitions
from carrara.core.digests import digest_data
from carrara.core.errors import DefinitionCycle, DefinitionError, NotFoundError
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.on_demand import OnDemandView
from carrara.features.views import FeatureView

StoredView = FeatureView | AggregateView
View = StoredView | OnDemandView


OnMissing = Literal["default", "fail"]
OnExpired = Literal["default", "stale", "fail"]
OnUnavailable = Literal["fail", "default", "stale"]


@dataclass(frozen=True)
class Policy:
    """What a reader of the online store gets where there is no value, only an expired one, or no store.

    `default` is the feature's default, or missing where it has none, as in a training set; `stale` the last value
    known, which a training set does not have; `fail` an error.
    """

    missing: OnMissing = "default"
    expired: OnExpired = "default"
    unavailable: OnUnavailable = "fail"

    def __post_init__(self) -> None:
        for field, choices in (("missing", OnMissing), ("expired", OnExpired), ("unavailable", OnUnavailable)):
            if getattr(self, field) not in get_args(choices):
                raise NotFoundError(f"policy for {field} values", getattr(self, field), get_args(choices))


@dataclass(frozen=True)
class FeatureService:
    """Features under one name, which models read, and requests ask for, by it; and how they are read online.

    >>> FeatureService("arrivals", features=("plane", "weather:temp"), expired="stale").policy.expired
    'stale'
    """

    name: str
    features: tuple[str, ...]
    missing: OnMissing = "default"
    expired: OnExpired = "default"
    unavailable: OnUnavailable = "fail"
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    kind = "feature service"

    def __post_init__(self) -> None:
        if not self.features:
            raise DefinitionError(f"feature service '{self.name}' has no features")
        assert self.policy

    @property
    def policy(self) -> Policy:
        return Policy(self.missing, self.expired, self.unavailable)

    def spec(self) -> dict[str, Any]:
        return {
            "features": list(self.features),
            **vars(self.policy),
            "description": self.description,
            "owner": self.owner,
            "tags": list(self.tags),
        }


@dataclass(frozen=True)
class ResolvedFeatures:
    """Features in a fixed order, the views that make them (inputs before users), and their entities.

    `borrowed` are those that a model does not list itself: models read them whose scores it reads.
    """

    features: tuple[str, ...]
    stored: tuple[tuple[StoredView, Entity], ...]
    on_demand: tuple[OnDemandView, ...]
    policy: Policy = Policy()
    borrowed: tuple[str, ...] = ()

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
        views = {view.name: definition_digest(view) for view, _ in self.stored}
        views |= {view.name: definition_digest(view) for view in self.on_demand}
        return {
            "features": list(self.features),
            "views": views,
            "keys": list(self.keys),
            "request": self.request,
        }


def definition_digest(view: View) -> str:
    """What names this version of a view: it changes when, and only when, what its values depend on does."""
    return digest_data(view.computation())


def resolve_features(definitions: Definitions, references: tuple[str, ...], *, where: str) -> ResolvedFeatures:
    """What references stand for: `weather:temp`, `weather` for all features of a view, or a feature service's name,
    whose policy counts where it stands alone.

    Raises NotFoundError with the nearest right name, DefinitionCycle when on-demand views need each other.
    """
    services: dict[str, FeatureService] = definitions.of_kind("feature service")
    policy = services[references[0]].policy if len(references) == 1 and references[0] in services else Policy()
    features: list[str] = []
    views: dict[str, View] = {}
    for reference in (one for name in references for one in (services[name].features if name in services else (name,))):
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
    return ResolvedFeatures(tuple(features), tuple(stored), tuple(on_demand), policy)


def _view(definitions: Definitions, reference: str, where: str) -> View:
    views = {**definitions.of_kind("feature view"), **definitions.of_kind("on-demand view")}
    name = reference.partition(":")[0]
    if name not in views:
        services = definitions.of_kind("feature service") if name == reference else {}
        raise NotFoundError("feature view", name, {**views, **services}, where=where)
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
