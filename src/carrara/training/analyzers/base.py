"""The protocol of an analyzer.

To add one: a frozen dataclass with these members, beside those of its kind, and a case in the tests, which hold the
state of a whole against those of its parts, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from carrara.training.trainers.base import Array


class State(Protocol):
    """What was found of a column in some rows: a pure function of their values, in whatever order and parts they came,
    so that a transform learns the same numbers, bit for bit, whichever spans were read and which were kept."""

    def merge(self, other: Self) -> None:
        """Take all that was found in other rows."""

    def filled(self, value: float) -> None:
        """Become the state of the column whose missing numbers are `value`."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, which the analyzer's `read` takes."""


class Analyzer(Protocol):
    """What is to be found of a column."""

    def spec(self) -> str:
        """What names it among those of all releases: another way of finding it is another text."""

    def analyze(self, values: Array) -> list[Any]:
        """The state of each column, float32 of shape (rows, columns); of texts, of shape (rows,), of the one."""

    def read(self, data: Mapping[str, Any]) -> Any:
        """A state from its plain data."""
