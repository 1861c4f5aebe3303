"""Aggregate views: statistics of an entity's events over sliding windows, declared and not coded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from carrara.core.clock import duration, microseconds
from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule
from carrara.features.feature import Feature
from carrara.features.streams.base import Stream

Function = Literal["count", "sum", "mean", "std", "min", "max", "rate", "first", "last", "distinct", "top", "lag"]


@dataclass(frozen=True)
class Aggregation:
    """One function of one column over several windows; makes one feature per window, or `k` of them."""

    function: Function
    column: str | None
    windows: tuple[str, ...]
    k: int = 1

    def __post_init__(self) -> None:
        if not self.windows:
            raise DefinitionError(f"{self.function} needs a window", hint='e.g. windows=("6h", "1d")')
        for window in self.windows:
            duration(window)

    def features(self, window: str) -> tuple[str, ...]:
        """The names of the features of a window, e.g. `arr_delay_mean_6h`, or `gate_top1_1d` and `gate_top2_1d`."""
        if self.function in ("top", "lag"):
            return tuple(f"{self.column}_{self.function}{rank}_{window}" for rank in range(1, self.k + 1))
        return (f"{self.column}_{self.function}_{window}" if self.column else f"{self.function}_{window}",)

    def spec(self) -> dict[str, Any]:
        k = {"k": self.k} if self.function in ("top", "lag") else {}
        return {"function": self.function, "column": self.column, "windows": list(self.windows), **k}


def count(*, windows: tuple[str, ...]) -> Aggregation:
    """The number of events; 0 when there are none."""
    return Aggregation("count", None, windows)


def total(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The sum of a column over the events that have it; missing when none has."""
    return Aggregation("sum", column, windows)


def mean(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The mean of a column over the events that have it; missing when none has."""
    return Aggregation("mean", column, windows)


def std(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The population's standard deviation of a column over the events that have it; missing when none has, and
    where it is not finite."""
    return Aggregation("std", column, windows)


def minimum(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The minimum of a column over the events that have it; missing when none has."""
    return Aggregation("min", column, windows)


def maximum(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The maximum of a column over the events that have it; missing when none has."""
    return Aggregation("max", column, windows)


def first(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The oldest value of a column in the window; missing when no event in it has one."""
    return Aggregation("first", column, windows)


def rate(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The share of events in which a boolean column is true; missing when none has it."""
    return Aggregation("rate", column, windows)


def last(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """The newest value of a column; missing when no event in the window has one."""
    return Aggregation("last", column, windows)


def distinct(column: str, *, windows: tuple[str, ...]) -> Aggregation:
    """How many distinct values a column has, numbers or texts; 0 when no event in the window has one."""
    return Aggregation("distinct", column, windows)


def top_k(column: str, k: int, *, windows: tuple[str, ...]) -> Aggregation:
    """The k most frequent values of a column of numbers, the one that came last first of equals; a feature each."""
    if k < 1:
        raise DefinitionError(f"top_k of '{column}' needs a k of at least 1, and {k} was given")
    return Aggregation("top", column, windows, k)


def lags(column: str, k: int, *, windows: tuple[str, ...]) -> Aggregation:
    """The newest value of a column, the one before it, and so on, k of them, a feature each; missing where the window
    has fewer that have one."""
    if k < 1:
        raise DefinitionError(f"lags of '{column}' needs a k of at least 1, and {k} was given")
    return Aggregation("lag", column, windows, k)


@dataclass(frozen=True)
class AggregateView:
    """Windowed statistics per entity over the events of a dataset.

    The value at a time T covers the events with an event time in (T - window, T] that were known at T, by their
    `created_time` where one is named, exactly, in a training set and online alike. All features are float64.

    >>> view = AggregateView("carrier_delays", entity="carrier", source="legs", event_time="arrived_at",
    ...                      aggregations=(mean("arr_delay", windows=("6h", "1d")),))
    >>> list(view.feature_types)
    ['arr_delay_mean_6h', 'arr_delay_mean_1d']
    """

    name: str
    entity: str
    source: str
    event_time: str
    aggregations: tuple[Aggregation, ...]
    created_time: str | None = None
    schedule: str | None = None
    stream: Stream | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    kind = "feature view"
    ttl = None

    def __post_init__(self) -> None:
        if self.schedule is not None:
            Schedule.of(self.schedule)

    @cached_property
    def declared(self) -> dict[str, Feature]:
        names = [name for a in self.aggregations for window in a.windows for name in a.features(window)]
        return {name: Feature("float64") for name in names}

    @cached_property
    def feature_types(self) -> dict[str, str]:
        return {name: feature.type for name, feature in self.declared.items()}

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the dataset that the aggregations read, each once."""
        return list(dict.fromkeys(a.column for a in self.aggregations if a.column))

    def functions_of(self, column: str) -> set[str]:
        """What is asked of one of the columns."""
        return {a.function for a in self.aggregations if a.column == column}

    @cached_property
    def longest_window(self) -> int:
        """In microseconds."""
        return max(microseconds(duration(window)) for a in self.aggregations for window in a.windows)

    def computation(self) -> dict[str, Any]:
        """What the values depend on; the rest of the spec is for people and schedulers."""
        return {
            "entity": self.entity,
            "source": self.source,
            "event_time": self.event_time,
            "created_time": self.created_time,
            "aggregations": [aggregation.spec() for aggregation in self.aggregations],
        }

    def spec(self) -> dict[str, Any]:
        return {
            **self.computation(),
            "schedule": self.schedule,
            "stream": self.stream.describe() if self.stream is not None else None,
            "description": self.description,
            "owner": self.owner,
            "tags": list(self.tags),
        }
