"""On-demand views: features of a request's own fields and of other features, by a NumPy function.

The same function runs on a training set's columns and on a request's rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from carrara.core.arrays import declared_shape
from carrara.core.digests import digest_function
from carrara.core.errors import DataError, DefinitionError
from carrara.features.feature import Feature, declared_features


@dataclass(frozen=True)
class OnDemandView:
    """Features computed at the moment of a request; calling it calls the function."""

    name: str
    request: Mapping[str, str]
    inputs: tuple[str, ...]
    features: Mapping[str, str | Feature]
    function: Callable[..., Any]
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    kind = "on-demand view"

    def __post_init__(self) -> None:
        declared_features({**self.request, **self.features}, self.name, arrays=True)
        parameters = inspect.signature(self.function).parameters.values()
        gives = [*self.request, *(reference.partition(":")[2] for reference in self.inputs)]
        takes = [one.name for one in parameters]
        takes_all = [one.kind for one in parameters] == [inspect.Parameter.VAR_KEYWORD]
        if takes != gives and not takes_all:
            raise DefinitionError(
                f"the function of on-demand view '{self.name}' takes ({', '.join(takes)}), "
                f"and its request fields and inputs are ({', '.join(gives)})",
                hint="Name its parameters after them, in this order.",
            )
        if not gives:
            raise DefinitionError(
                f"on-demand view '{self.name}' reads nothing", hint="Name request fields or inputs that it reads."
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @cached_property
    def declared(self) -> dict[str, Feature]:
        return declared_features(self.features, self.name, arrays=True)

    @cached_property
    def feature_types(self) -> dict[str, str]:
        return {name: feature.type for name, feature in self.declared.items()}

    def computation(self) -> dict[str, Any]:
        """What the values depend on; the rest of the spec is for people."""
        return {
            "request": dict(self.request),
            "inputs": list(self.inputs),
            "features": {name: feature.meaning() for name, feature in self.declared.items()},
            "function": digest_function(self.function),
        }

    def spec(self) -> dict[str, Any]:
        return {
            **self.computation(),
            "features": {name: feature.spec() for name, feature in self.declared.items()},
            "description": self.description,
            "owner": self.owner,
            "tags": list(self.tags),
        }


def on_demand_view(
    *,
    request: Mapping[str, str],
    features: Mapping[str, str | Feature],
    inputs: tuple[str, ...] = (),
    description: str = "",
    owner: str = "",
    tags: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], OnDemandView]:
    """Declare an on-demand view by its function from NumPy columns to a dict of NumPy columns.

    `request` names the request's fields with their types, `inputs` other features (`view:feature`); the
    function's parameters are these names, in this order, or `**columns` for all of them. Numbers arrive as float64
    with NaN for missing, times as datetime64[us] in UTC, strings as objects with None for missing, and a field of the
    type `float32[28, 28]` as float32 of shape (rows, 28, 28).

    >>> @on_demand_view(request={"distance": "float64"}, features={"distance_band": "int64"})
    ... def trip(distance):
    ...     return {"distance_band": np.digitize(distance, [500, 1500])}
    >>> run_on_demand(trip, {"distance": np.array([100.0, 2000.0])})
    {'distance_band': array([0., 2.])}
    """

    def declare(function: Callable[..., Any]) -> OnDemandView:
        said = description or (function.__doc__ or "").strip().partition("\n")[0]
        return OnDemandView(function.__name__, request, inputs, features, function, said, owner, tags)

    return declare


def run_on_demand(view: OnDemandView, columns: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The view's features as float64 columns, objects for those that are declared texts, None for a missing one, or
    float32 of shape (rows, …) for arrays; `columns` holds its request fields and inputs.

    Raises DataError when the function fails, writes into a column, or returns other features than declared.
    """
    try:
        made = view.function(**{name: _read_only(values) for name, values in columns.items()})
    except Exception as error:
        raise DataError(f"on-demand view '{view.name}' failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, Mapping) or set(made) != set(view.features):
        found = ", ".join(made) if isinstance(made, Mapping) else type(made).__name__
        raise DataError(f"on-demand view '{view.name}' returned {found}, and declares {', '.join(view.features)}")
    rows = len(next(iter(columns.values())))
    result = {
        name: _typed(made[name], declared, f"{view.name}:{name}") for name, declared in view.feature_types.items()
    }
    for name, values in result.items():
        if values.shape != (expected := (rows, *declared_shape(view.feature_types[name]))):
            raise DataError(f"feature '{view.name}:{name}' has shape {values.shape}, and {expected} is expected")
    return result


def _read_only(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A column may be another feature as well: what a function wrote into it would be served as that."""
    column = values.view()
    column.flags.writeable = False
    return column


def _typed(values: Any, declared: str, feature: str) -> np.ndarray[Any, Any]:
    if declared == "string":
        return _texts(values, feature)
    return _numbers(values, np.float32 if declared_shape(declared) else np.float64, feature)


def _numbers(values: Any, dtype: Any, feature: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise DataError(f"feature '{feature}' is not numbers: {error}") from error


def _texts(values: Any, feature: str) -> np.ndarray[Any, Any]:
    found = np.asarray(values, dtype=object)
    for value in found.ravel():
        if not (value is None or isinstance(value, str)):
            raise DataError(f"feature '{feature}' is declared a text, and {value!r} is none")
    return found
