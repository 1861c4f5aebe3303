"""Search spaces: which values of a hyper-parameter are tried."""

from __future__ import annotations

from dataclasses import dataclass
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
