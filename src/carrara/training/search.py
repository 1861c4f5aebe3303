"""Search spaces: which values of a hyper-parameter are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import exp, log, prod
from typing import Any

from carrara.core.errors import DefinitionError


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included: whole where both are, by its logarithm with `log`.

    >>> Between(0.01, 0.3, log=True).spec()
    {'between': [0.01, 0.3], 'log': True}
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise DefinitionError(f"Between({self.low!r}, {self.high!r}, log={self.log}) has no numbers in it")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def spec(self) -> dict[str, Any]:
        return {"between": [self.low, self.high], "log": self.log}


@dataclass(frozen=True)
class OneOf:
    """One of some values.

    >>> OneOf(("gini", "entropy")).spec()
    {'one_of': ['gini', 'entropy']}
    """

    values: tuple[str | int | float | bool | None, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise DefinitionError("OneOf(()) has no values")

    def spec(self) -> dict[str, Any]:
        return {"one_of": list(self.values)}


Space = Between | OneOf


def grid(space: Mapping[str, Space], most: int) -> list[dict[str, Any]]:
    """Every combination of values, those of numbers as many and as evenly apart as `most` combinations allow. Raises
    DefinitionError where two values of each are too many.

    >>> grid({"depth": Between(2, 6), "kind": OneOf(("a", "b"))}, 6)[:3]
    [{'depth': 2, 'kind': 'a'}, {'depth': 2, 'kind': 'b'}, {'depth': 4, 'kind': 'a'}]
    """
    for count in range(most, 1, -1):
        values = [_values(one, count) for one in space.values()]
        if prod(map(len, values)) <= most:
            return [dict(zip(space, point, strict=True)) for point in product(*values)]
    least = prod(len(_values(one, 2)) for one in space.values())
    raise DefinitionError(
        f"a grid of {', '.join(space)} has {least} points at least, and there are {most} trials",
        hint=f"--trials {least}, or --sampler random.",
    )


def _values(one: Space, count: int) -> list[Any]:
    """So many values, the ends among them; all there are where these are fewer."""
    if isinstance(one, OneOf):
        return list(one.values)
    ends = (log(one.low), log(one.high)) if one.log else (one.low, one.high)
    even = [ends[0] + (ends[1] - ends[0]) * place / (count - 1) for place in range(count)]
    inner = [exp(value) for value in even] if one.log else even
    # The ends themselves, which a logarithm and its power may miss.
    found = [one.low, *inner[1:-1], one.high]
    return list(dict.fromkeys(round(value) for value in found)) if one.whole else [float(value) for value in found]
