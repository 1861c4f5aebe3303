"""The frequent values of a stream of texts: exact while the distinct values are few, then within a stated bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

MOST_VALUES = 10_000
"""How many values are kept; with more distinct ones, counts are low by at most rows / MOST_VALUES."""

_SCHEMA = {"value": pl.String(), "rows": pl.Float64()}


@dataclass
class FrequentSketch:
    """Values and their weights, after Misra and Gries (1982), merged as Agarwal et al. (2012).

    `slack` is by how much a count can be too low, or the weight of a value that is not kept; 0 means exact.

    >>> sketch = FrequentSketch()
    >>> sketch.add(pl.DataFrame({"value": ["a", "b"], "rows": [2.0, 1.0]}))
    >>> sketch.top(1), sketch.exact
    ([('a', 2.0)], True)
    """

    counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SCHEMA))
    slack: float = 0.0

    @property
    def exact(self) -> bool:
        return self.slack == 0

    def add(self, counts: pl.DataFrame) -> None:
        """Take distinct texts with their weights: columns `value` (String) and `rows` (Float64)."""
        if counts.height > MOST_VALUES:
            # Cut first: then what is joined is small, and the bound holds all the same.
            counts = self._cut(counts)
        if self.counts.height:
            counts = pl.concat([self.counts, counts]).group_by("value").agg(pl.col("rows").sum())
        if counts.height > MOST_VALUES:
            counts = self._cut(counts)
        self.counts = counts

    def merge(self, other: FrequentSketch) -> None:
        self.slack += other.slack
        self.add(other.counts)

    def top(self, most: int) -> list[tuple[str, float]]:
        """The most frequent values with their weights, descending; equal ones by name."""
        found = self.counts.sort("rows", "value", descending=[True, False]).head(most)
        return list(found.iter_rows())

    def as_dict(self) -> dict[str, Any]:
        kept = self.counts.sort("value")
        return {"values": kept["value"].to_list(), "rows": kept["rows"].to_list(), "slack": self.slack}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FrequentSketch:
        return cls(pl.DataFrame({"value": data["values"], "rows": data["rows"]}, schema=_SCHEMA), data["slack"])

    def _cut(self, counts: pl.DataFrame) -> pl.DataFrame:
        kept = counts.top_k(MOST_VALUES + 1, by="rows")
        least = float(kept["rows"].min())  # type: ignore[arg-type]
        self.slack += least
        return kept.with_columns(pl.col("rows") - least).filter(pl.col("rows") > 0)
