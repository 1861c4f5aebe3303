"""Metrics by slice: every value of a column, or of a cross of columns, so that a weak group is not hidden by a good
average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import DataError
from carrara.evaluation.jackknife import Method, intervals_by
from carrara.evaluation.metrics import (
    DEFAULT_METRICS,
    Kind,
    Metric,
    MetricValue,
    labelled_rows,
    measure_rows,
    metric,
)
from carrara.evaluation.weighing import Floats, Ints

OTHER = "(other)"
MISSING = "(missing)"
CROSS = " × "

MOST_VALUES = 1_000
"""How many slices of a column are measured; the smaller ones are pooled."""

SEARCHED_PARTS = 10
"""In how many stretches numbers are cut to search among them."""

_RESAMPLED_ROWS = 2_000
_AT_ONCE = 1_000_000
_MOST_RANGE, _MOST_WHOLE = 1_000, 20


@dataclass(frozen=True)
class Codes:
    """A column's slices: the place of each row's value among `values`, int32 of shape (rows,)."""

    values: tuple[str, ...]
    places: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.places)


Places = npt.NDArray[np.int32] | Ints

Column = npt.NDArray[Any] | pl.Series | Codes


@dataclass(frozen=True)
class SliceResult:
    """The metrics of the rows where `column` is `value` (as text; "(other)" pools what is too small)."""

    column: str
    value: str
    rows: int
    metrics: Mapping[str, MetricValue]

    def as_dict(self) -> dict[str, Any]:
        metrics = {name: value.as_dict() for name, value in self.metrics.items()}
        return {"column": self.column, "value": self.value, "rows": self.rows, "metrics": metrics}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SliceResult:
        metrics = {name: MetricValue.from_dict(value) for name, value in data["metrics"].items()}
        return cls(data["column"], data["value"], int(data["rows"]), metrics)


def measure_slices(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    columns: Mapping[str, Column],
    names: Iterable[str | Metric] = DEFAULT_METRICS,
    *,
    crosses: Iterable[Sequence[str]] = (),
    kind: Kind = "binary",
    min_rows: int = 200,
    bootstrap: int = 100,
    seed: int = 0,
    threshold: float = 0.5,
    weights: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    rows: Any = None,
    intervals: Method = "bootstrap",
) -> list[SliceResult]:
    """Every value of every column, column by column, the largest slice first and "(other)" last; then every
    combination of each of the `crosses` of columns.

    Columns have shape (rows,): strings, integers and booleans are sliced by value, floats by quartile.
    Missing values are a slice of their own; slices of fewer than `min_rows` rows, and those beyond the MOST_VALUES
    largest, are pooled. A ranking is sliced by whole queries, which are its rows here. `rows` are the labelled rows
    where they are made already. Raises DataError for a column that differs among the items of a query.
    """
    if not columns:
        return []
    count = len(np.asarray(labels))
    wanted = [metric(name, kind) for name in names]
    options = {"threshold": threshold, "weights": weights, "groups": groups}
    whole = labelled_rows(kind, labels, scores, **options) if rows is None else rows
    order = row_order(kind, scores) if groups is None else _first_items(groups)
    resamples = intervals_by(intervals, bootstrap, seed, _RESAMPLED_ROWS)
    found = []
    for column, one in with_crosses(columns, crosses):
        if len(one) != count:
            raise DataError(f"slice column '{column}' has {len(one):,} rows, and there are {count:,} labels")
        if groups is not None:
            _check_query(column, one, groups)
        for value, places in _groups(one, order, min_rows):
            metrics = measure_rows(whole.take(places), wanted, resamples)
            found.append(SliceResult(column, value, len(places), metrics))
    return found


def with_crosses(columns: Mapping[str, Column], crosses: Iterable[Sequence[str]]) -> Iterator[tuple[str, Codes]]:
    """The slices of columns, and of crosses of them by `one × other`; of many rows only one column is held at a time,
    and those that are crossed.

    >>> dict(with_crosses({"a": np.array(["x", "y"]), "b": np.array([1, 1])}, [("a", "b")]))["a × b"].values[0]
    'x × 1'
    """
    wanted = [tuple(names) for names in crosses]
    crossed = {name for names in wanted for name in names}
    kept = {}
    for name in columns:
        codes = coded(columns[name])
        if name in crossed:
            kept[name] = codes
        yield name, codes
    for names in wanted:
        yield CROSS.join(names), reduce(_crossed, (kept[name] for name in names))


def row_order(kind: Kind, scores: npt.ArrayLike) -> Places | None:
    """The places of the labelled rows among those that were given; None where they are as given."""
    return _short(np.argsort(-np.asarray(scores, np.float64), kind="stable")) if kind == "binary" else None


def _short(places: Ints) -> Places:
    return places.astype(np.int32) if len(places) < 2**31 else places


def _first_items(groups: npt.ArrayLike) -> Ints:
    """The place of an item of each query, in the queries' order."""
    return np.asarray(np.unique(np.asarray(groups), return_index=True)[1])


def _check_query(column: str, codes: Codes, groups: npt.ArrayLike) -> None:
    _, first, query = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if (codes.places != codes.places[first[query]]).any():
        raise DataError(
            f"a ranking is sliced by query, and '{column}' differs among the items of one",
            hint="Slice by what a query has: who asked, when, where.",
        )


def coded(cells: Column, parts: int = 4) -> Codes:
    """The slices of a column: floats in `parts` of equal rows, everything else, and floats that are few whole numbers,
    by its values as text; codes as they are.

    >>> coded(np.array(["b", "a", "b"])).values
    ('a', 'b', '(missing)')
    """
    if isinstance(cells, Codes):
        return cells
    series = cells if isinstance(cells, pl.Series) else pl.Series(cells, strict=False, nan_to_null=True)
    if series.dtype.is_float():
        numbers = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return _by_value(numbers) or _quantiles(numbers, parts)
    values = series.unique().drop_nulls().sort()
    if series.dtype == pl.String:
        places = series.cast(pl.Enum(values)).to_physical().cast(pl.Int32)
    else:
        places = series.replace_strict(values, pl.Series(range(len(values)), dtype=pl.Int32), default=len(values))
    return Codes((*values.cast(pl.String).to_list(), MISSING), places.fill_null(len(values)).to_numpy())


def _by_value(cells: Floats) -> Codes | None:
    """Floats that are whole numbers, of few different values: a feature of int64 that may be missing comes as such."""
    blocks = (cells[start : start + _AT_ONCE] for start in range(0, len(cells), _AT_ONCE))
    if not all(((block == np.floor(block)) | np.isnan(block)).all() for block in blocks) or np.isnan(cells).all():
        return None
    low, high = float(np.nanmin(cells)), float(np.nanmax(cells))
    if not high - low < _MOST_RANGE:
        return None
    missing = int(high - low) + 1
    places = np.nan_to_num(cells - low, nan=missing).astype(np.int32)
    there = np.flatnonzero(np.bincount(places, minlength=missing + 1)[:missing])
    if len(there) > _MOST_WHOLE:
        return None
    renumbered = np.full(missing + 1, len(there), np.int32)
    renumbered[there] = np.arange(len(there))
    return Codes((*(str(int(low) + place) for place in there.tolist()), MISSING), renumbered[places])


def _quantiles(cells: Floats, parts: int) -> Codes:
    """Stretches such as "[2.5, 7)"."""
    edges = _edges(cells, parts)
    if not edges.size:
        return Codes((MISSING,), np.zeros(len(cells), np.int32))
    texts = [f"< {edges[0]:.4g}"]
    texts += [f"[{low:.4g}, {high:.4g})" for low, high in pairwise(edges)]
    texts.append(f"≥ {edges[-1]:.4g}")
    # A cut of [a, b) puts equal values on one side, so a column with many ties may have fewer slices.
    places = np.empty(len(cells), np.int32)
    for start in range(0, len(cells), _AT_ONCE):
        some = cells[start : start + _AT_ONCE]
        found = np.searchsorted(edges, some, side="right")
        places[start : start + _AT_ONCE] = np.where(np.isnan(some), len(texts), found)
    return Codes((*texts, MISSING), places)


def _edges(cells: Floats, parts: int) -> Floats:
    """Where a column is cut; nowhere if nothing of it is known."""
    known = cells[~np.isnan(cells)]
    if not known.size:
        return known
    return np.unique(np.quantile(known, np.arange(1, parts) / parts, overwrite_input=True))


def _crossed(one: Codes, other: Codes) -> Codes:
    size = len(one.values) * len(other.values)
    pairs: Places = one.places if size < 2**31 else one.places.astype(np.int64)
    pairs = pairs * len(other.values) + other.places
    if size < _AT_ONCE:  # no sort of all rows
        there = np.flatnonzero(np.bincount(pairs, minlength=size))
        renumbered = np.zeros(size, np.int32)
        renumbered[there] = np.arange(len(there))
        places = renumbered[pairs]
    else:
        there, found = np.unique(pairs, return_inverse=True)
        places = found.astype(np.int32)
    texts = (f"{one.values[p // len(other.values)]}{CROSS}{other.values[p % len(other.values)]}" for p in there)
    return Codes(tuple(texts), places)


def _groups(codes: Codes, order: Places | None, min_rows: int) -> Iterator[tuple[str, Places]]:
    """(value, places among the labelled rows) of each slice, the largest first."""
    # NumPy sorts 16 bits by radix, many times faster than 32 by merging.
    narrow = codes.places.astype(np.uint16) if len(codes.values) < 2**16 else codes.places
    places = narrow if order is None else narrow[order]
    counts = np.bincount(places, minlength=len(codes.values))
    ends = np.cumsum(counts)
    sorted_rows = _short(np.argsort(places, kind="stable"))
    largest = sorted(np.flatnonzero(counts).tolist(), key=lambda place: (-counts[place], codes.values[place]))
    kept = [place for place in largest if counts[place] >= min_rows][:MOST_VALUES]
    for place in kept:
        yield codes.values[place], sorted_rows[ends[place] - counts[place] : ends[place]]
    if len(kept) < len(largest):
        pooled = np.flatnonzero(~np.isin(places, kept))
        yield OTHER, pooled
