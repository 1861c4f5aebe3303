"""Statistics of one column, by what it holds: numbers, times, texts, booleans or lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.clock import from_microseconds
from carrara.core.columns import type_name
from carrara.core.errors import ColumnTypeMismatch
from carrara.core.hashing import hash_texts
from carrara.data.numbers import Numbers, packed, unpacked, whole_or_float
from carrara.data.sketches.distinct import DistinctSketch
from carrara.data.sketches.frequent import FrequentSketch

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_TOP = 10
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass
class ColumnStatistics:
    """The statistics of one column; which parts there are goes by its type."""

    type: str
    rows: int = 0
    nulls: int = 0
    nan: int = 0
    infinite: int = 0
    numbers: Numbers | None = None
    weighted: Numbers | None = None
    weight: float = 0.0
    frequent: FrequentSketch | None = None
    weighted_frequent: FrequentSketch | None = None
    distinct: DistinctSketch | None = None
    lengths: Numbers | None = None

    @classmethod
    def of_type(cls, dtype: pl.DataType) -> ColumnStatistics:
        return cls(type_name(dtype))

    @property
    def is_number(self) -> bool:
        return self.numbers is not None and not self.is_time

    @property
    def is_time(self) -> bool:
        return self.type in ("datetime", "datetime without zone", "date")

    @property
    def present(self) -> float:
        """The share of rows that have a value; 0 without rows."""
        return 1 - self.nulls / self.rows if self.rows else 0.0

    def add(self, values: pl.Series, weights: Floats | None) -> None:
        """Take a batch of the column."""
        self.rows += len(values)
        self.nulls += values.null_count()
        if weights is not None:
            self.weight += float(weights.sum())
        dtype = values.dtype
        if dtype == pl.Boolean:
            self._add_texts(values, weights)
        elif dtype == pl.String or dtype == pl.Categorical or isinstance(dtype, pl.Enum):
            self._add_texts(values.cast(pl.String), weights)
        elif isinstance(dtype, pl.List | pl.Array):
            lengths = values.list.len() if isinstance(dtype, pl.List) else values.arr.len()
            self.lengths = self.lengths or Numbers(whole=True)
            self._add_numbers(self.lengths, None, lengths, None)
        elif dtype.is_numeric() or dtype.is_temporal():
            self.numbers = self.numbers or Numbers(whole=dtype.is_integer())
            if weights is not None:
                self.weighted = self.weighted or Numbers()
            self._add_numbers(self.numbers, self.weighted, _as_number(values), weights)

    def merge(self, other: ColumnStatistics, name: str) -> None:
        """Add what another part of the column `name` showed; ColumnTypeMismatch when it has another type."""
        if self.type != other.type:
            raise ColumnTypeMismatch(name, "the other part", self.type, other.type)
        self.rows += other.rows
        self.nulls += other.nulls
        self.nan += other.nan
        self.infinite += other.infinite
        self.weight += other.weight
        self._merge_texts(other)
        for part in ("numbers", "weighted", "lengths"):
            mine, theirs = getattr(self, part), getattr(other, part)
            if theirs is not None:
                merged = mine or Numbers(whole=theirs.whole)
                merged.merge(theirs)
                setattr(self, part, merged)

    def count_distinct(self) -> tuple[int, bool]:
        """How many distinct values there are, without null, and whether that is exact."""
        if self.numbers is not None:
            special, exact = (self.nan > 0) + min(self.infinite, 1), self.numbers.distinct is None and not self.infinite
            return min(self.numbers.count_distinct() + special, self.rows - self.nulls), exact
        if self.distinct is not None:
            return min(self.distinct.estimate(), self.rows - self.nulls), False
        return (self.frequent.counts.height if self.frequent else 0), True

    def shares(self) -> dict[str, float]:
        """The share of the rows of each kept text, or of each number while these are exact."""
        if self.frequent is not None:
            return {value: rows / self.rows for value, rows in self.frequent.counts.iter_rows()}
        if self.numbers is not None and self.numbers.sketch.exact:
            sketch = self.numbers.sketch
            return {_plain(v): c / self.rows for v, c in zip(sketch.values().tolist(), sketch.counts, strict=True)}
        return {}

    def summary(self) -> dict[str, Any]:
        distinct, exact = self.count_distinct()
        found: dict[str, Any] = {
            "type": self.type,
            "rows": self.rows,
            "nulls": self.nulls,
            "distinct": distinct,
            "distinct_exact": exact,
        }
        if self.is_time and self.numbers is not None:
            found |= self._times(self.numbers)
        elif self.numbers is not None:
            found |= {**self.numbers.summary(), "nan": self.nan, "infinite": self.infinite}
        if self.frequent is not None:
            found["top"] = _top(self.frequent, self.rows)
        if self.lengths is not None:
            found["lengths"] = {k: v for k, v in self.lengths.summary().items() if k in ("min", "mean", "max")}
        if self.weight:
            found["weighted"] = self._weighted_summary()
        return found

    def as_dict(self) -> dict[str, Any]:
        found = dict(vars(self))
        for name in ("numbers", "weighted", "frequent", "weighted_frequent", "lengths"):
            found[name] = None if found[name] is None else found[name].as_dict()
        return {**found, "distinct": packed(self.distinct)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ColumnStatistics:
        parts: dict[str, Any] = dict(data)
        for name in ("numbers", "weighted", "lengths"):
            parts[name] = None if data[name] is None else Numbers.from_dict(data[name])
        for name in ("frequent", "weighted_frequent"):
            parts[name] = None if data[name] is None else FrequentSketch.from_dict(data[name])
        return cls(**{**parts, "distinct": unpacked(data["distinct"])})

    def _add_numbers(self, into: Numbers, weighted: Numbers | None, values: pl.Series, weights: Floats | None) -> None:
        if values.null_count():
            weights = None if weights is None else weights[values.is_not_null().to_numpy()]
            values = values.drop_nulls()
        numbers = values.cast(pl.Float64).to_numpy()
        if not into.whole and not _all_finite(numbers):
            finite, nan = np.isfinite(numbers), int(np.isnan(numbers).sum())
            self.nan += nan
            self.infinite += int(numbers.size - np.count_nonzero(finite)) - nan
            numbers, weights = numbers[finite], None if weights is None else weights[finite]
        into.add(numbers, integers=_integers(values) if into.whole else None)
        if weighted is not None:
            weighted.add(numbers, weights)

    def _add_texts(self, values: pl.Series, weights: Floats | None) -> None:
        before = self.frequent.counts["value"] if self.frequent is not None else None
        self.frequent = self.frequent or FrequentSketch()
        counts = _counted(values, None)
        self.frequent.add(counts)
        if self.distinct is None and not self.frequent.exact:
            self.distinct = DistinctSketch()
            if before is not None:
                self.distinct.add(hash_texts(before))
        if self.distinct is not None:
            self.distinct.add(hash_texts(counts["value"]))
        if values.dtype == pl.String:
            self.lengths = self.lengths or Numbers()
            lengths = counts["value"].str.len_chars().cast(pl.Float64).to_numpy()
            self.lengths.add(lengths, counts["rows"].to_numpy())
        if weights is not None:
            self.weighted_frequent = self.weighted_frequent or FrequentSketch()
            self.weighted_frequent.add(_counted(values, weights))

    def _merge_texts(self, other: ColumnStatistics) -> None:
        if other.frequent is None:
            return
        mine = self.frequent or FrequentSketch()
        hashed = [(self.distinct, mine.counts["value"]), (other.distinct, other.frequent.counts["value"])]
        mine.merge(other.frequent)
        self.frequent = mine
        if not mine.exact:
            merged = DistinctSketch()
            for sketch, values in hashed:
                if sketch is not None:
                    merged.merge(sketch)
                else:
                    merged.add(hash_texts(values))
            self.distinct = merged
        if other.weighted_frequent is not None:
            self.weighted_frequent = self.weighted_frequent or FrequentSketch()
            self.weighted_frequent.merge(other.weighted_frequent)

    def _times(self, numbers: Numbers) -> dict[str, Any]:
        if not numbers.moments.weight:
            return {"min": None, "max": None, "histogram": None, "largest_gap": None}
        histogram = numbers.histogram()
        return {
            "min": self.time_text(numbers.sketch.least),
            "max": self.time_text(numbers.sketch.greatest),
            "histogram": {"edges": [self.time_text(e) for e in histogram["edges"]], "counts": histogram["counts"]},
            "largest_gap": self.largest_gap(),
        }

    def largest_gap(self) -> dict[str, Any] | None:
        """The longest stretch without a time: `seconds` at least and `at_most`, `after` and `before` which times.

        The two differ where the sketch is no longer exact. None without two times.
        """
        if self.numbers is None or self.numbers.sketch.codes.size < 2:
            return None
        low, high = self.numbers.sketch.bounds()
        gaps = low[1:] - high[:-1]
        place = int(np.argmax(gaps))
        return {
            "seconds": float(gaps[place]) / 1e6,
            "at_most": float((high[1:] - low[:-1]).max()) / 1e6,
            "after": self.time_text(high[place]),
            "before": self.time_text(low[place + 1]),
        }

    def time_text(self, microseconds: float) -> str:
        """A time of this column, in RFC 3339."""
        found = from_microseconds(round(microseconds))
        if self.type == "date":
            return found.date().isoformat()
        return found.isoformat() if self.type == "datetime" else found.replace(tzinfo=None).isoformat()

    def _weighted_summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {"rows": self.weight}
        if self.weighted is not None and self.is_number:
            found |= self.weighted.summary()
        if self.weighted_frequent is not None:
            found["top"] = _top(self.weighted_frequent, self.weight)
        return found


def column_statistics(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """What each column of a frame in memory holds, as plain data; see `Statistics.summary`.

    >>> column_statistics(pl.DataFrame({"delay": [1, 2, None]}))["delay"]["nulls"]
    1
    """
    found = {}
    for values in frame.iter_columns():
        statistics = ColumnStatistics.of_type(values.dtype)
        statistics.add(values, None)
        found[values.name] = statistics.summary()
    return found


def _as_number(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Date:
        return values.cast(pl.Int64) * _MICROSECONDS_A_DAY
    if isinstance(values.dtype, pl.Datetime | pl.Duration):
        return values.dt.cast_time_unit("us").to_physical()
    return values.to_physical() if values.dtype.is_temporal() else values


def _counted(values: pl.Series, weights: Floats | None) -> pl.DataFrame:
    if values.dtype == pl.Boolean and weights is None:
        true = int(values.sum())
        counts = {"value": ["false", "true"], "rows": [float(len(values) - values.null_count() - true), float(true)]}
        return pl.DataFrame(counts).filter(pl.col("rows") > 0)
    kept = values.alias("value").cast(pl.String)
    if weights is None:
        return kept.drop_nulls().value_counts(name="rows").with_columns(pl.col("rows").cast(pl.Float64))
    rows = pl.DataFrame({"value": kept, "rows": weights}).drop_nulls("value")
    return rows.group_by("value").agg(pl.col("rows").sum())


def _top(frequent: FrequentSketch, rows: float) -> list[dict[str, Any]]:
    return [{"value": value, "rows": whole_or_float(n), "share": n / rows} for value, n in frequent.top(_TOP)]


def _all_finite(values: Floats) -> bool:
    """By their sum, which costs a fifth of looking at each; a sum past 1e308 is looked at."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _integers(values: pl.Series) -> Integers | None:
    if values.dtype in (pl.Int128, pl.UInt128):
        return None
    found = values.to_numpy()
    return found.view(np.int64) if found.dtype == np.uint64 else found.astype(np.int64)


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)
