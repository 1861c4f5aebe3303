"""What is declared of one feature: its type, and what people and catalogues want to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.arrays import declared_shape
from carrara.core.columns import POLARS_TYPES
from carrara.core.errors import DefinitionError, NotFoundError

_DEFAULTS: dict[str, tuple[type, ...]] = {"string": (str,), "bool": (bool, int, float)}
_NUMBER = (bool, int, float)


@dataclass(frozen=True)
class Feature:
    """A feature's type, and what else is known of it.

    `default` stands where there is no value, or an expired one: in a training set and at a prediction alike.
    `pii` says that it tells of a person.

    >>> Feature("float64", default=0.0, unit="min", description="The delay of the last flight").unit
    'min'
    """

    type: str
    default: bool | float | str | None = None
    description: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()
    pii: bool = False

    def meaning(self) -> Any:
        """What its values depend on."""
        return self.type if self.default is None else {"type": self.type, "default": self.default}

    def spec(self) -> Any:
        said = {
            "description": self.description,
            "unit": self.unit,
            "tags": list(self.tags),
            "pii": self.pii,
        }
        given = {name: value for name, value in said.items() if value}
        return {"type": self.type, "default": self.default, **given} if given else self.meaning()


def declared_features(features: Mapping[str, str | Feature], where: str, *, arrays: bool = False) -> dict[str, Feature]:
    """Features by name, from types or in full; raises for an unknown type and for a default of another one.

    Of a type such as `float32[28, 28]` are `arrays` alone, which come with a request: no store holds them.
    """
    found = {name: f if isinstance(f, Feature) else Feature(f) for name, f in features.items()}
    for name, feature in found.items():
        if arrays and declared_shape(feature.type) and feature.default is None:
            continue
        if feature.type not in POLARS_TYPES:
            raise NotFoundError("type", feature.type, POLARS_TYPES, where=f"feature '{where}:{name}'")
        if feature.default is not None and not isinstance(feature.default, _DEFAULTS.get(feature.type, _NUMBER)):
            raise DefinitionError(
                f"the default of feature '{where}:{name}' is {feature.default!r}, and it is {feature.type}",
                hint="Give a number, true or false, or a text for a string.",
            )
    return found


def defaults(features: Mapping[str, Feature]) -> dict[str, bool | float | str]:
    """The features that have a default."""
    return {name: feature.default for name, feature in features.items() if feature.default is not None}
