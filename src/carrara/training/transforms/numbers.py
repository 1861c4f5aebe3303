"""Transforms of numbers. A missing number is NaN, and stays one except where a transform says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import DefinitionError, TrainingError
from carrara.training.analyzers.base import Analyzer
from carrara.training.analyzers.numbers import Distribution, Moments, Quantiles, Sums
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

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        if not isinstance(self.value, str):
            return {}
        analyzer = Moments() if self.value == "mean" else Quantiles()
        return dict.fromkeys(chosen(self, self.columns, columns, texts=False), analyzer)

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=False).items():
            value = self._value(known.get(name), name)
            missing = graph.add("IsNaN", column.tensor)
            imputed = _changed(column, graph.add("Where", missing, graph.constant(value), column.tensor))
            made[name] = replace(imputed, filled=column.filled or (column.tensor, value))
            learned[name] = value
            if self.indicator:
                told = graph.add("Cast", missing, to=1)
                made[f"{name} is missing"] = replace(_changed(column, told), names=_each_missing(column))
        return made, learned

    def _value(self, known: Sums | Distribution | None, name: str) -> float:
        if known is None:
            assert not isinstance(self.value, str)
            return float(self.value)
        if not known.known:
            raise TrainingError(f"'{name}' is missing in every training row", hint="Leave it out of the model.")
        return known.mean if isinstance(known, Sums) else known.sketch.quantile(0.5)


def _each_missing(column: Column) -> tuple[str, ...]:
    return tuple(f"{name} is missing" for name in column.names)


@dataclass(frozen=True)
class Standardise:
    """Less the mean, over the standard deviation; a constant becomes 0."""

    columns: str | tuple[str, ...] = EVERY

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return dict.fromkeys(chosen(self, self.columns, columns, texts=False), Moments())

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        def learn(sums: Sums) -> dict[str, float]:
            return {"mean": sums.mean, "std": sums.std or 1.0}

        def nodes(tensor: str, found: Mapping[str, float]) -> str:
            centred = graph.add("Sub", tensor, graph.constant(found["mean"]))
            return graph.add("Div", centred, graph.constant(found["std"]))

        return _each(self, columns, known, learn, nodes)


@dataclass(frozen=True)
class Clip:
    """Nothing below `low`, nothing above `high`: numbers, or with `quantiles` shares of the training rows."""

    columns: str | tuple[str, ...] = EVERY
    low: float | None = 0.01
    high: float | None = 0.99
    quantiles: bool = True

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        asked = chosen(self, self.columns, columns, texts=False) if self.quantiles else {}
        return dict.fromkeys(asked, Quantiles())

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        ends = {end: share for end, share in (("low", self.low), ("high", self.high)) if share is not None}

        def learn(distribution: Distribution | None) -> dict[str, float]:
            if distribution is None:
                return {end: float(number) for end, number in ends.items()}
            return dict(zip(ends, distribution.sketch.quantiles(list(ends.values())).tolist(), strict=True))

        def nodes(tensor: str, found: Mapping[str, float]) -> str:
            # Comparisons with NaN are false, so that a missing number stays one; Min and Max would not say.
            for name, operator in (("low", "Less"), ("high", "Greater")):
                if name in found:
                    end = graph.constant(found[name])
                    tensor = graph.add("Where", graph.add(operator, tensor, end), end, tensor)
            return tensor

        return _each(self, columns, known, learn, nodes)


@dataclass(frozen=True)
class Log:
    """sign(x) · ln(1 + |x|): large numbers come closer together, and negative ones stay negative."""

    columns: str | tuple[str, ...] = EVERY

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return {}

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        def nodes(tensor: str, found: Mapping[str, float]) -> str:
            size = graph.add("Log", graph.add("Add", graph.add("Abs", tensor), graph.constant(1)))
            return graph.add("Mul", graph.add("Sign", tensor), size)

        return _each(self, columns, known, lambda state: {}, nodes)


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

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        asked = {} if self.boundaries else chosen(self, self.columns, columns, texts=False)
        return dict.fromkeys(asked, Quantiles())

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=False).items():
            bounds = self._bounds(known.get(name))
            above = graph.add("GreaterOrEqual", column.tensor, graph.constant([bounds]))
            place = graph.add("ReduceSum", graph.add("Cast", above, to=1), graph.constant([1], np.int64), keepdims=1)
            missing = graph.constant(len(bounds) + 1)
            tensor = graph.add("Where", graph.add("IsNaN", column.tensor), missing, place)
            made[name] = replace(_changed(column, tensor), categories=len(bounds) + 2)
            learned[name] = bounds
        return made, learned

    def _bounds(self, distribution: Distribution | None) -> list[float]:
        if distribution is None:
            return [float(bound) for bound in sorted(self.boundaries)]
        if not distribution.known:
            return [0.0]
        inner = distribution.sketch.quantiles(np.linspace(0, 1, self.buckets + 1)[1:-1])
        return [float(bound) for bound in np.unique(inner.astype(np.float32))]


def _each(
    transform: Any,
    columns: Mapping[str, Column],
    known: Mapping[str, Any],
    learn: Callable[[Any], dict[str, float]],
    nodes: Callable[[str, Mapping[str, float]], str],
) -> tuple[dict[str, Column], dict[str, Any]]:
    """Each chosen column by itself."""
    made, learned = {}, {}
    for name, column in chosen(transform, transform.columns, columns, texts=False).items():
        state = known.get(name)
        if state is not None and not state.known:
            raise TrainingError(f"'{name}' is missing in every training row", hint="Leave it out of the model.")
        learned[name] = learn(state)
        made[name] = _changed(column, nodes(column.tensor, learned[name]))
    return made, learned


def _changed(column: Column, tensor: str) -> Column:
    return replace(column, tensor=tensor, categories=None, filled=None)
