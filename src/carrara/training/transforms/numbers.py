"""Transforms of numbers. A missing number is NaN, and stays one except where a transform says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import DefinitionError, TrainingError
from carrara.training.trainers.base import Array
from carrara.training.transforms.base import EVERY, chosen, spec_of
from carrara.training.transforms.graph import Column, Graph


@dataclass(frozen=True)
class Impute:
    """Missing numbers become the `mean`, the `median`, or a number; with `indicator` a column says where."""

    columns: str | tuple[str, ...] = EVERY
    value: str | float = "median"
    indicator: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.value, str) and self.value not in ("mean", "median"):
            raise DefinitionError(f"Impute(value={self.value!r}): write 'mean', 'median' or a number")

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def fit(self, columns: Mapping[str, Column], graph: Graph) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=False).items():
            value = self._value(column.values, name)
            missing = graph.add("IsNaN", column.tensor)
            made[name] = _changed(column, graph, graph.add("Where", missing, graph.constant(value), column.tensor))
            learned[name] = value
            if self.indicator:
                told = graph.add("Cast", missing, to=1)
                made[f"{name} is missing"] = replace(_changed(column, graph, told), names=_each_missing(column))
        return made, learned

    def _value(self, values: Array, name: str) -> float:
        if not isinstance(self.value, str):
            return float(self.value)
        known = values[~np.isnan(values)]
        if not known.size:
            raise TrainingError(f"'{name}' is missing in every training row", hint="Leave it out of the model.")
        return float(np.mean(known, dtype=np.float64) if self.value == "mean" else np.median(known))


def _each_missing(column: Column) -> tuple[str, ...]:
    return tuple(f"{name} is missing" for name in column.names)


@dataclass(frozen=True)
class Standardise:
    """Less the mean, over the standard deviation; a constant becomes 0."""

    columns: str | tuple[str, ...] = EVERY

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def fit(self, columns: Mapping[str, Column], graph: Graph) -> tuple[dict[str, Column], dict[str, Any]]:
        def learn(values: Array) -> dict[str, float]:
            mean, std = float(np.nanmean(values, dtype=np.float64)), float(np.nanstd(values, dtype=np.float64))
            return {"mean": mean, "std": std if std > 0 else 1.0}

        def nodes(tensor: str, found: Mapping[str, float]) -> str:
            centred = graph.add("Sub", tensor, graph.constant(found["mean"]))
            return graph.add("Div", centred, graph.constant(found["std"]))

        return _each(self, self.columns, columns, graph, learn, nodes)


@dataclass(frozen=True)
class Clip:
    """Nothing below `low`, nothing above `high`: numbers, or with `quantiles` shares of the training rows."""

    columns: str | tuple[str, ...] = EVERY
    low: float | None = 0.01
    high: float | None = 0.99
    quantiles: bool = True

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def fit(self, columns: Mapping[str, Column], graph: Graph) -> tuple[dict[str, Column], dict[str, Any]]:
        def learn(values: Array) -> dict[str, float]:
            ends = {"low": self.low, "high": self.high}
            known = {name: end for name, end in ends.items() if end is not None}
            if not self.quantiles:
                return {name: float(end) for name, end in known.items()}
            return {name: float(np.nanquantile(values, end)) for name, end in known.items()}

        def nodes(tensor: str, found: Mapping[str, float]) -> str:
            # Comparisons with NaN are false, so that a missing number stays one; Min and Max would not say.
            for name, operator in (("low", "Less"), ("high", "Greater")):
                if name in found:
                    end = graph.constant(found[name])
                    tensor = graph.add("Where", graph.add(operator, tensor, end), end, tensor)
            return tensor

        return _each(self, self.columns, columns, graph, learn, nodes)


@dataclass(frozen=True)
class Log:
    """sign(x) · ln(1 + |x|): large numbers come closer together, and negative ones stay negative."""

    columns: str | tuple[str, ...] = EVERY

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def fit(self, columns: Mapping[str, Column], graph: Graph) -> tuple[dict[str, Column], dict[str, Any]]:
        def nodes(tensor: str, found: Mapping[str, float]) -> str:
            size = graph.add("Log", graph.add("Add", graph.add("Abs", tensor), graph.constant(1)))
            return graph.add("Mul", graph.add("Sign", tensor), size)

        return _each(self, self.columns, columns, graph, lambda values: {}, nodes)


@dataclass(frozen=True)
class Bucketise:
    """The place of the bucket that a number is in, and one more bucket for missing ones.

    `buckets` of about equal rows, or those between `boundaries`; a boundary belongs to the bucket above it.
    """

    columns: str | tuple[str, ...]
    buckets: int = 10
    boundaries: tuple[float, ...] = ()

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def fit(self, columns: Mapping[str, Column], graph: Graph) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=False).items():
            bounds = self._bounds(column.values)
            above = graph.add("GreaterOrEqual", column.tensor, graph.constant([bounds]))
            place = graph.add("ReduceSum", graph.add("Cast", above, to=1), graph.constant([1], np.int64), keepdims=1)
            missing = graph.constant(len(bounds) + 1)
            tensor = graph.add("Where", graph.add("IsNaN", column.tensor), missing, place)
            made[name] = replace(_changed(column, graph, tensor), categories=len(bounds) + 2)
            learned[name] = bounds
        return made, learned

    def _bounds(self, values: Array) -> list[float]:
        if self.boundaries:
            return [float(bound) for bound in sorted(self.boundaries)]
        known = values[~np.isnan(values)]
        inner = np.linspace(0, 1, self.buckets + 1)[1:-1]
        return np.unique(np.quantile(known, inner).astype(np.float32)).astype(float).tolist() if known.size else [0.0]


def _each(
    transform: Any,
    named: str | tuple[str, ...],
    columns: Mapping[str, Column],
    graph: Graph,
    learn: Callable[[Array], dict[str, float]],
    nodes: Callable[[str, Mapping[str, float]], str],
) -> tuple[dict[str, Column], dict[str, Any]]:
    """Each chosen column by itself."""
    made, learned = {}, {}
    for name, column in chosen(transform, named, columns, texts=False).items():
        if np.isnan(column.values).all():
            raise TrainingError(f"'{name}' is missing in every training row", hint="Leave it out of the model.")
        learned[name] = learn(column.values)
        made[name] = _changed(column, graph, nodes(column.tensor, learned[name]))
    return made, learned


def _changed(column: Column, graph: Graph, tensor: str) -> Column:
    return replace(column, tensor=tensor, values=graph.run(tensor, {column.tensor: column.values}), categories=None)
