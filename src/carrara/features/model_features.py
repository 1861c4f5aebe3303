"""The features that a model reads: those that it lists, and those of the models whose scores it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from carrara.core.definitions import Definitions
from carrara.features.service import ResolvedFeatures, resolve_features

T = TypeVar("T")


def features_of_model(
    definitions: Definitions, model: Any, *, where: str, path: tuple[str, ...] = ()
) -> ResolvedFeatures:
    """What a model of the definitions reads; `borrowed` are the features that it does not list itself.

    Another model is read by its address, `risk@2`; its features are those of `risk` as it is defined here. Versions may
    read each other's models in a circle, since each is older than its reader. Raises what `resolve_features` raises.
    """
    path = (*path, model.name)
    found, models = resolve_features(definitions, model.features, where=where), definitions.of_kind("model")
    for address in getattr(model, "scores", ()):
        # A model that was defined elsewhere has to have its features listed.
        other = models.get(address.partition("@")[0])
        if other is not None and other.name not in path:
            found = _with(found, features_of_model(definitions, other, where=where, path=path))
    return found


def _with(own: ResolvedFeatures, other: ResolvedFeatures) -> ResolvedFeatures:
    more = tuple(name for name in other.features if name not in own.features)
    return ResolvedFeatures(
        features=(*own.features, *more),
        stored=_each_once((*own.stored, *other.stored), key=lambda pair: pair[0].name),
        on_demand=_each_once((*own.on_demand, *other.on_demand), key=lambda view: view.name),
        policy=own.policy,
        borrowed=(*own.borrowed, *more),
    )


def _each_once(found: tuple[T, ...], key: Callable[[T], str]) -> tuple[T, ...]:
    named: dict[str, T] = {}
    for one in found:
        named.setdefault(key(one), one)
    return tuple(named.values())
