"""What a user declares of a dataset: a table from a source, or one derived from other datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from carrara.core.columns import POLARS_TYPES
from carrara.core.digests import digest_function
from carrara.core.errors import NotFoundError


@dataclass(frozen=True)
class Dataset:
    """A table that is read from a source.

    `source` is a CSV (plain, .gz or .zip) or Parquet file: a path below the workspace, or
    `package:NAME/PATH` for a file inside an installed Python package. `types` casts columns, e.g.
    `{"seen_at": "datetime"}`; `null_values` are the texts that stand for a missing value in a CSV.

    >>> Dataset("weather", source="weather.csv", types={"time_hour": "datetime"}).spec()["source"]
    'weather.csv'
    """

    name: str
    source: str
    types: Mapping[str, str] = field(default_factory=dict)
    null_values: tuple[str, ...] = ("",)
    description: str = ""
    owner: str = ""

    kind = "dataset"

    def __post_init__(self) -> None:
        for column, name in self.types.items():
            if name not in POLARS_TYPES:
                raise NotFoundError("type", name, POLARS_TYPES, where=f"column '{column}' of dataset '{self.name}'")

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    def spec(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "types": dict(self.types),
            "null_values": list(self.null_values),
            "description": self.description,
            "owner": self.owner,
        }


@dataclass(frozen=True)
class DerivedDataset:
    """A table that a function makes from other datasets; calling it calls the function."""

    name: str
    inputs: tuple[str, ...]
    function: Callable[..., Any]
    description: str = ""
    owner: str = ""

    kind = "dataset"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        return {
            "inputs": list(self.inputs),
            "function": digest_function(self.function),
            "description": self.description,
            "owner": self.owner,
        }


def dataset(
    *, inputs: tuple[str, ...], description: str = "", owner: str = ""
) -> Callable[[Callable[..., Any]], DerivedDataset]:
    """Declare a dataset by a function from the lazy frames of its inputs to a lazy frame.

    The frames are narwhals LazyFrames, one argument per input, in their order.

    >>> @dataset(inputs=("flights",))
    ... def arrived(flights):
    ...     return flights.drop_nulls("arr_delay")
    >>> arrived.name, arrived.inputs
    ('arrived', ('flights',))
    """

    def declare(function: Callable[..., Any]) -> DerivedDataset:
        said = description or (function.__doc__ or "").strip().partition("\n")[0]
        return DerivedDataset(function.__name__, inputs, function, said, owner)

    return declare
