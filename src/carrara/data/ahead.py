"""What series came to: the labels of forecasts, made from the series themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import narwhals as nw

from carrara.core.errors import DefinitionError

STEP = "step"
KNOWN_AT = "known_at"


@dataclass(frozen=True)
class Ahead:
    """A dataset of what came after each row of a series: the `value` that its `key` had 1, 2, … `steps` rows later.

    Its columns are the key, `time` (when a forecast would have been made), `step`, `known_at` (the time of the row that
    it came to) and `value`. A model whose label it is, `Label("ahead", "sold", "day", "known_at", "regression")`,
    forecasts: it is trained on what was known at `time`, and a split leaves out what had not happened yet.

    >>> Ahead("ahead", source="sales", key=("store",), time="day", value="sales", steps=0)
    Traceback (most recent call last):
    carrara.core.errors.DefinitionError: dataset 'ahead' looks 0 steps ahead
    """

    name: str
    source: str
    key: tuple[str, ...]
    time: str
    value: str
    steps: int
    description: str = ""
    owner: str = ""

    kind: ClassVar[str] = "dataset"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise DefinitionError(f"dataset '{self.name}' looks {self.steps} steps ahead")
        taken = {STEP, KNOWN_AT} & {*self.key, self.time, self.value}
        if taken:
            raise DefinitionError(
                f"a column of '{self.source}' is called '{min(taken)}', as one of dataset '{self.name}'",
                hint="Rename it in a dataset of its own.",
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.source,)

    def function(self, series: Any) -> Any:
        """The rows of every step, of a lazy frame."""
        asked = series.select(*self.key, self.time, self.value)
        return nw.concat([self._at(asked, step) for step in range(1, self.steps + 1)])

    def _at(self, series: Any, step: int) -> Any:
        def later(column: str) -> Any:
            return nw.col(column).shift(-step).over(*self.key, order_by=self.time)

        found = series.with_columns(
            nw.lit(step, nw.Int64()).alias(STEP), later(self.time).alias(KNOWN_AT), later(self.value).alias(self.value)
        )
        return found.drop_nulls([KNOWN_AT, self.value])

    def spec(self) -> dict[str, Any]:
        return {
            "inputs": list(self.inputs),
            "ahead": {"key": list(self.key), "time": self.time, "value": self.value, "steps": self.steps},
            "description": self.description,
            "owner": self.owner,
        }
