"""Version policies: which of the versions that are there are served at the same time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class VersionPolicy(Protocol):
    def choose(self, found: Iterable[int]) -> list[int]:
        """The versions to serve, of those that are there; ascending."""


@dataclass(frozen=True)
class Latest:
    """The newest `count` versions.

    >>> Latest(2).choose([1, 3, 2])
    [2, 3]
    """

    count: int = 1

    def choose(self, found: Iterable[int]) -> list[int]:
        return sorted(found)[-self.count :]


@dataclass(frozen=True)
class All:
    """Every version."""

    def choose(self, found: Iterable[int]) -> list[int]:
        return sorted(found)


@dataclass(frozen=True)
class Specific:
    """These versions, as far as they are there."""

    versions: tuple[int, ...]

    def choose(self, found: Iterable[int]) -> list[int]:
        return sorted(set(self.versions).intersection(found))
