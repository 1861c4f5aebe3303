"""What a model promises: its objectives, by which a score card is computed from what is stored.

After Uber's Model Excellence Scores: indicators of a model's life, an objective for each, and an agreement of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrara.core.clock import duration
from carrara.core.errors import DefinitionError


@dataclass(frozen=True)
class Agreement:
    """The objectives of the model `name`.

    `data_within` is how old the newest label may be that it has learned from, `trained_within` how long ago its
    training may be, `watched_within` how old its newest computed window, and `p99_ms` how long 99 of 100
    predictions of that window may take at most. With `approved` a person has to have found it good.

    >>> Agreement("late", data_within="14d").spec()["data_within"]
    '14d'
    """

    name: str
    data_within: str = "30d"
    trained_within: str = "90d"
    watched_within: str = "7d"
    p99_ms: float | None = None
    approved: bool = False

    kind = "agreement"

    def __post_init__(self) -> None:
        for text in (self.data_within, self.trained_within, self.watched_within):
            if not duration(text):
                raise DefinitionError(f"the agreement of '{self.name}' allows no time at all: '{text}'")
        if self.p99_ms is not None and not self.p99_ms > 0:
            raise DefinitionError(f"the agreement of '{self.name}' asks for p99_ms={self.p99_ms!r}")

    def spec(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "name"}
