"""What a user declares of a dataset: a table from a source, or one derived from other datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from carrara.core.columns import POLARS_TYPES
from carrara.core.digests import digest_function
from carrara.core.errors import DefinitionError, NotFoundError
from carrara.data.sources.base import Reading, Source
from carrara.data.sources.files import Files

Mode = Literal["replace", "append", "upsert"]


@dataclass(frozen=True)
class Dataset:
    """A table that is read from a source.

    `source` is the address of files (see `Files`), or a `Sql` or `DuckDB` query. `types` casts columns, e.g.
    `{"seen_at": "datetime"}`. `mode` says what a new state of the source does to the rows that are there: `replace`
    them, `append` to them, or `upsert` by `key`. `null_values` are the texts that stand for a missing value in a
    CSV, `encoding` and `separator` how it is written. `slices` names columns by whose values statistics are kept
    as well, `weight` the one that weighted statistics count by.

    >>> Dataset("weather", source="weather.csv", types={"time_hour": "datetime"}).spec()["source"]
    'weather.csv'
    """

    name: str
    source: str | Source
    types: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "replace"
    key: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ("",)
    encoding: str = "utf-8"
    separator: str = ""
    slices: tuple[str, ...] = ()
    weight: str | None = None
    description: str = ""
    owner: str = ""

    kind = "dataset"

    def __post_init__(self) -> None:
        for column, name in self.types.items():
            if name not in POLARS_TYPES:
                raise NotFoundError("type", name, POLARS_TYPES, where=f"column '{column}' of dataset '{self.name}'")
        if self.mode not in get_args(Mode):
            raise NotFoundError("mode", self.mode, get_args(Mode), where=f"dataset '{self.name}'")
        if self.mode == "upsert" and not self.key:
            raise DefinitionError(
                f"dataset '{self.name}' upserts without a key",
                hint='Name the columns that identify a row: key=("id",).',
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    @property
    def read_from(self) -> Source:
        return Files(self.source) if isinstance(self.source, str) else self.source

    def reading(self) -> Reading:
        """How its source is to be read."""
        types = {column: POLARS_TYPES[name] for column, name in self.types.items()}
        return Reading(self.name, types, self.null_values, self.encoding, self.separator)

    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "source": self.source if isinstance(self.source, str) else self.source.describe(),
            "types": dict(self.types),
            "null_values": list(self.null_values),
            "description": self.description,
            "owner": self.owner,
        }
        if self.mode != "replace":
            found |= {"mode": self.mode}
        for name in ("key", "slices"):
            found |= {name: list(getattr(self, name))} if getattr(self, name) else {}
        for name, usual in (("encoding", "utf-8"), ("separator", ""), ("weight", None)):
            found |= {name: getattr(self, name)} if getattr(self, name) != usual else {}
        return found


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
