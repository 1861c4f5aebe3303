"""How much each column tells of a label: correlation, and mutual information over bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import ColumnMissing
from carrara.data.column_statistics import ColumnStatistics
from carrara.data.comparison import counted_by_value
from carrara.data.statistics import Statistics, batches_of

_BINS = 20
_CATEGORIES = 100


@dataclass(frozen=True)
class Association:
    """What a column tells of a label.

    `correlation` is Pearson's, None unless both are numbers or booleans; `mutual_information` is in nats, with the
    correction of Miller (1955) for what chance alone gives; `share` is that of the label's entropy, from 0 to 1.
    """

    column: str
    correlation: float | None
    mutual_information: float
    share: float


def associations(table: pl.LazyFrame | pl.DataFrame, statistics: Statistics, label: str) -> list[Association]:
    """What each other column tells of `label`, the most first, in one pass over the table.

    Numbers and times are binned by twentieths, texts by their 100 commonest values where these repeat; a null is a
    bin of its own.
    """
    if label not in statistics.columns:
        raise ColumnMissing(label, "the table", statistics.columns)
    binned = {name: Binning.of(column) for name, column in statistics.columns.items()}
    sums = {name: np.zeros((binned[name].bins, binned[label].bins)) for name in binned if name != label}
    products = {name: np.zeros(6) for name in sums if binned[name].numeric and binned[label].numeric}
    for batch in batches_of(table):
        codes = binned[label].codes(batch[label])
        for name, counts in sums.items():
            flat = binned[name].codes(batch[name]) * binned[label].bins + codes
            counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)
        for name, total in products.items():
            total += _products(batch[name], batch[label], statistics.columns[name], statistics.columns[label])
    found = [_association(name, counts, products.get(name)) for name, counts in sums.items()]
    return sorted(found, key=lambda one: (-one.mutual_information, one.column))


@dataclass(frozen=True)
class Binning:
    """How the values of a column are put into few bins: numbers by twentieths, texts by their commonest values."""

    edges: npt.NDArray[np.float64] | None
    categories: tuple[str, ...]
    numeric: bool

    @classmethod
    def of(cls, column: ColumnStatistics) -> Binning:
        if column.numbers is not None:
            edges = np.unique(column.numbers.sketch.quantiles(np.arange(1, _BINS) / _BINS))
            return cls(edges[np.isfinite(edges)], (), column.is_number)
        # Texts that hardly repeat would seem to tell of anything, by chance: they share one bin.
        kept = column.frequent.top(_CATEGORIES) if column.frequent is not None and counted_by_value(column) else []
        return cls(None, tuple(value for value, _ in kept), column.type == "bool")

    @property
    def bins(self) -> int:
        return (len(self.edges) + 2) if self.edges is not None else len(self.categories) + 2

    def codes(self, values: pl.Series) -> npt.NDArray[np.int64]:
        """The bin of each value, shape (rows,); the last is null."""
        if self.edges is not None:
            numbers = as_numbers(values)
            places = np.searchsorted(self.edges, numbers, side="right")
            return np.where(np.isnan(numbers), self.bins - 1, places)
        if not isinstance(values.dtype, pl.String | pl.Boolean):
            return np.where(values.is_null().to_numpy(), self.bins - 1, 0)
        texts = values.cast(pl.String)
        known = {value: place for place, value in enumerate(self.categories)}
        places_of = texts.replace_strict(known, default=len(known), return_dtype=pl.Int64) if known else None
        coded = texts.is_null().cast(pl.Int64) if places_of is None else places_of
        return np.where(texts.is_null().to_numpy(), self.bins - 1, coded.fill_null(0).to_numpy())


def as_numbers(values: pl.Series) -> npt.NDArray[np.float64]:
    """A column of numbers, booleans or times as float64, shape (rows,), NaN for null."""
    physical = values.to_physical() if values.dtype.is_temporal() else values
    return physical.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _products(
    one: pl.Series, other: pl.Series, of_one: ColumnStatistics, of_other: ColumnStatistics
) -> npt.NDArray[np.float64]:
    x, y = as_numbers(one) - _middle(of_one), as_numbers(other) - _middle(of_other)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y])


def _middle(column: ColumnStatistics) -> float:
    """Near the mean, so that squares lose no digits."""
    return column.numbers.moments.mean if column.numbers is not None else 0.0


def information(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """The mutual information of two columns of bins, shape (rows,), in nats, without what chance alone gives."""
    width = int(other.max(initial=0)) + 1
    flat = np.bincount(one * width + other, minlength=(int(one.max(initial=0)) + 1) * width)
    return _information(flat.reshape(-1, width).astype(np.float64))


def _association(name: str, counts: npt.NDArray[np.float64], products: npt.NDArray[np.float64] | None) -> Association:
    if not counts.sum():
        return Association(name, None, 0.0, 0.0)
    found, of_label = _information(counts), counts.sum(0) / counts.sum()
    entropy = -float(np.sum(of_label[of_label > 0] * np.log(of_label[of_label > 0])))
    return Association(name, _correlation(products), found, min(found / entropy, 1.0) if entropy else 0.0)


def _information(counts: npt.NDArray[np.float64]) -> float:
    total = float(counts.sum())
    joint, of_one, of_other = counts / total, counts.sum(1) / total, counts.sum(0) / total
    some = joint > 0
    found = float(np.sum(joint[some] * np.log(joint[some] / np.outer(of_one, of_other)[some])))
    cells = [int(np.count_nonzero(part)) for part in (of_one, of_other, joint)]
    chance = float(cells[2] - cells[0] - cells[1] + 1) / (2 * total)
    return max(found - max(chance, 0.0), 0.0)


def _correlation(products: npt.NDArray[np.float64] | None) -> float | None:
    if products is None or products[0] < 2:
        return None
    n, x, y, xx, yy, xy = products
    spread = (xx - x * x / n) * (yy - y * y / n)
    return float((xy - x * y / n) / np.sqrt(spread)) if spread > 0 else None
