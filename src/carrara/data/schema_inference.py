"""A first schema from statistics: what holds of the data now, with room for what is as usual."""

from __future__ import annotations

import math
import re
from typing import Any

from carrara.data.column_statistics import ColumnStatistics
from carrara.data.numbers import Numbers
from carrara.data.schema import ColumnSchema, Schema
from carrara.data.statistics import Statistics

_MOST_CATEGORIES = 200
_ROWS_A_CATEGORY = 5
_FEW_VALUES = 10
_ENOUGH_ROWS = 100
_ENOUGH_TIMES = 1_000
_NEARLY_ALL = 0.95
_IDENTIFIER = re.compile(r"(^|_)(id|key|uuid|number)$")


def infer_schema(statistics: Statistics, name: str = "", key: tuple[str, ...] = ()) -> Schema:
    """A schema that the data of these statistics meets; a person then curates it.

    Types are as found. `min_present` leaves five percent of the rows to chance, where there are nulls at all.
    Ranges are widened by their own width, and ends at 0 stay. Texts of few values get their `categories`, times a
    `max_gap` of twice the longest one.

    >>> from carrara.data.statistics import profile
    >>> import polars as pl
    >>> infer_schema(profile(pl.DataFrame({"hour": [1, None]}))).columns["hour"].type
    'int64'
    """
    return Schema(
        {name: infer_column(name, column) for name, column in statistics.columns.items()}, dataset=name, key=key
    )


def infer_column(name: str, column: ColumnStatistics) -> ColumnSchema:
    """The schema of one column."""
    semantic = _semantic(name, column)
    found: dict[str, Any] = {"type": column.type, "semantic": semantic, "min_present": _presence(column)}
    if semantic == "identifier":
        # New rows have new identifiers: neither their range nor their distribution says anything.
        return ColumnSchema(**found, drift={}, skew={})
    if column.nan or column.infinite:
        found["finite"] = False
    if column.is_number and column.numbers is not None and column.rows >= _ENOUGH_ROWS:
        found |= _range(column.numbers)
    if column.is_time and column.rows >= _ENOUGH_TIMES and (gap := column.largest_gap()) is not None:
        found["max_gap"] = _rounded_up(2 * gap["at_most"])
    if found["semantic"] == "category" and column.frequent is not None:
        found["categories"] = tuple(sorted(column.frequent.counts["value"]))
    if column.lengths is not None and column.frequent is None and column.lengths.moments.weight:
        lengths = column.lengths.sketch
        found |= {"min_values": int(lengths.least), "max_values": int(lengths.greatest)}
    return ColumnSchema(**found)


def _semantic(name: str, column: ColumnStatistics) -> str:
    distinct, exact = column.count_distinct()
    present = column.rows - column.nulls
    if column.is_time:
        return "time"
    if column.type == "bool":
        return "flag"
    if column.frequent is not None:
        if exact and 0 < distinct <= _MOST_CATEGORIES and distinct * _ROWS_A_CATEGORY <= present:
            return "category"
        return "identifier" if present and distinct >= _NEARLY_ALL * present else "text"
    if column.numbers is not None:
        named = column.numbers.whole and _IDENTIFIER.search(name.lower()) is not None
        return "identifier" if named and present and distinct >= _NEARLY_ALL * present else "quantity"
    return ""


def _presence(column: ColumnStatistics) -> float:
    if not column.nulls:
        return 1.0 if column.rows else 0.0
    return max(math.floor((column.present - 0.05) * 100) / 100, 0.0)


def _range(numbers: Numbers) -> dict[str, Any]:
    if not numbers.moments.weight:
        return {}
    low, high = numbers.sketch.least, numbers.sketch.greatest
    if numbers.sketch.exact and numbers.sketch.codes.size <= _FEW_VALUES:
        return {"min": _bound(low, numbers.whole), "max": _bound(high, numbers.whole)}
    ninth, middle, first = numbers.sketch.quantiles([0.9, 0.5, 0.1])
    below = _room(low - high, low - middle, first - middle)
    above = _room(high - low, high - middle, ninth - middle)
    least, most = _outward(low + below, math.floor), _outward(high + above, math.ceil)
    least, most = max(least, 0.0) if low >= 0 else least, min(most, 0.0) if high <= 0 else most
    if low >= 0 and high <= 1 and not numbers.whole:
        most = 1.0
    return {"min": _bound(least, numbers.whole), "max": _bound(most, numbers.whole)}


def _room(width: float, end: float, shoulder: float) -> float:
    """How far past an end a range goes: its width, and ten of them where the tail is heavy, as prices have one."""
    return width * (10 if abs(end) > 10 * abs(shoulder) else 1)


def _outward(value: float, rounding: Any) -> float:
    """Rounded away from the data to two digits, so that a person can read it."""
    if value == 0 or not math.isfinite(value):
        return value
    digit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{rounding(value / digit) * digit:.12g}") if digit else value


def _bound(value: float, whole: bool) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if whole else value


def _rounded_up(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{math.ceil(seconds / length)}{unit}"
    return f"{max(math.ceil(seconds), 1)}s"
