"""Analyzers of texts: how often each is there, and in how many rows each sequence of words is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from carrara.training.trainers.base import Array

_SCHEMA = {"value": pl.String(), "rows": pl.Int64()}


@dataclass
class Counts:
    """Values, and in how many rows each is: every one of them, so that what is frequent in the whole is seen that is
    rare in each part."""

    parts: list[pl.DataFrame] = field(default_factory=list)

    @property
    def table(self) -> pl.DataFrame:
        """Columns `value` and `rows`, in no order."""
        if len(self.parts) != 1:
            joined = pl.concat([pl.DataFrame(schema=_SCHEMA), *self.parts])
            self.parts = [joined.group_by("value").agg(pl.col("rows").sum())]
        return self.parts[0]

    def merge(self, other: Counts) -> None:
        self.parts.extend(other.parts)
        if len(self.parts) > _MOST_PARTS:
            self.parts = [self.table]

    def filled(self, value: float) -> None:
        raise TypeError("numbers are filled in, and no texts")

    def frequent(self, most: int, least: int) -> list[str]:
        """The most frequent values of those in `least` rows, the first by the alphabet of equals."""
        found = self.table.filter(pl.col("rows") >= least)
        return found.sort(["rows", "value"], descending=[True, False])["value"].head(most).to_list()

    def as_dict(self) -> dict[str, Any]:
        kept = self.table.sort("value")
        return {"values": kept["value"].to_list(), "rows": kept["rows"].to_list()}


_MOST_PARTS = 64


def _read(data: Mapping[str, Any]) -> Counts:
    return Counts([pl.DataFrame({"value": data["values"], "rows": data["rows"]}, schema=_SCHEMA)])


@dataclass(frozen=True)
class Texts:
    """How often each text is there; the empty one is none."""

    def spec(self) -> str:
        return "texts 1"

    def analyze(self, values: Array) -> list[Counts]:
        texts = pl.Series("value", values, dtype=pl.String)
        counts = texts.filter(texts != "").value_counts(name="rows")
        return [Counts([counts.with_columns(pl.col("rows").cast(pl.Int64))])]

    def read(self, data: Mapping[str, Any]) -> Counts:
        return _read(data)


@dataclass(frozen=True)
class Grams:
    """In how many rows each sequence of 1 to `words` words is, A to Z in lower case, a space between them."""

    words: int = 1

    def spec(self) -> str:
        return f"grams 1 of {self.words}"

    def analyze(self, values: Array) -> list[Counts]:
        lower = [text.encode().lower().decode() for text in values]
        tokens = pl.Series(lower, dtype=pl.String).str.extract_all(r"\S+")
        rows = pl.DataFrame({"row": np.arange(len(values)), "token": tokens}).explode("token").drop_nulls("token")
        found = []
        for length in range(1, self.words + 1):
            later = [pl.col("token").shift(-step).over("row").alias(str(step)) for step in range(length)]
            names = [str(step) for step in range(length)]
            grams = rows.select("row", *later).drop_nulls()
            grams = grams.select("row", pl.concat_str(names, separator=" ").alias("value"))
            counts = grams.group_by("value").agg(pl.col("row").n_unique().cast(pl.Int64).alias("rows"))
            found.append(counts)
        return [Counts([pl.concat(found)])]

    def read(self, data: Mapping[str, Any]) -> Counts:
        return _read(data)
