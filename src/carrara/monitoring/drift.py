"""Drift of features: how far the values seen in a window are from those a model was trained on.

All functions are pure. A window without rows has no distribution: it raises DataError and is never
reported as a distance of zero, which would read as "healthy".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import ColumnMissing, DataError
from carrara.data.distances import jensen_shannon, l_infinity, psi, shares

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_MOST_CATEGORIES = 50
_SAME = 1e-6
_NO_EDGES: Floats = np.empty(0)


@dataclass(frozen=True)
class ReferenceDistribution:
    """The expected distribution of a feature: numbers by `edges`, or texts and booleans by `categories`.

    `counts` (int64) has a bin per interval or category, "anything else" for categories, and last the nulls.
    """

    counts: Counts
    edges: Floats | None = None
    categories: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: npt.NDArray[Any], bins: int = 10) -> ReferenceDistribution:
        """The distribution of `values`, shape (rows,): `bins` quantile bins of numbers, or the 50 commonest texts."""
        if _is_number(values):
            edges = quantile_edges(values, bins) if np.isfinite(values).any() else _NO_EDGES
            return cls(histogram(values, edges), edges=edges)
        texts = _texts(values).drop_nulls()
        common = texts.value_counts(sort=True, name="rows").head(_MOST_CATEGORIES)
        categories = tuple(sorted(common[common.columns[0]]))
        return cls(_category_counts(values, categories), categories=categories)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` reads it back."""
        edges = None if self.edges is None else self.edges.tolist()
        return {"counts": self.counts.tolist(), "edges": edges, "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReferenceDistribution:
        edges = None if data["edges"] is None else np.asarray(data["edges"], np.float64)
        return cls(np.asarray(data["counts"], np.int64), edges, tuple(data["categories"]))

    def count(self, values: npt.NDArray[Any]) -> Counts:
        """`values` counted into the same bins as `counts`."""
        if self.edges is not None:
            return histogram(values, self.edges)
        return _category_counts(values, self.categories)


@dataclass(frozen=True)
class Drift:
    """The distances of one feature's window from its reference; `rows` are those of the window."""

    feature: str
    psi: float
    jensen_shannon: float
    l_infinity: float
    null_share_expected: float
    null_share_actual: float
    rows: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "psi": self.psi,
            "jensen_shannon": self.jensen_shannon,
            "l_infinity": self.l_infinity,
            "null_share_expected": self.null_share_expected,
            "null_share_actual": self.null_share_actual,
            "rows": self.rows,
        }


def feature_drift(
    reference: Mapping[str, ReferenceDistribution], columns: Mapping[str, npt.NDArray[Any]]
) -> list[Drift]:
    """The drift of every feature of `reference`, by falling PSI; `columns` have shape (rows,).

    Columns that the reference does not have are not looked at. Raises ColumnMissing for a feature without
    a column, and DataError for an empty window or reference.
    """
    found = []
    for feature, expected in reference.items():
        if feature not in columns:
            raise ColumnMissing(feature, "the window", columns)
        if len(columns[feature]) == 0:
            raise DataError(f"the window has no rows of '{feature}'", hint="Drift is not known until there are some.")
        found.append(drift_of(feature, expected.counts, expected.count(columns[feature])))
    return sorted(found, key=lambda drift: (-drift.psi, drift.feature))


def one_score(values: npt.NDArray[Any]) -> Floats:
    """One number a prediction, to compare distributions by: of several classes the highest probability."""
    scores = np.asarray(values, np.float64)
    return scores.max(axis=1) if scores.ndim == 2 else scores


def quantile_edges(values: npt.NDArray[Any], bins: int = 10) -> Floats:
    """The inner edges of `bins` bins of about equal rows; the outer ends are open.

    A value that fills a bin or more gets a narrow bin of its own, so that a constant column whose value
    moves is seen. Raises DataError when no value is finite.

    >>> quantile_edges(np.arange(101.0), bins=4).tolist()
    [25.0, 50.0, 75.0]
    """
    numbers = _numbers(values)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        raise DataError("there is no finite value to take quantiles of")
    edges, repeats = np.unique(np.quantile(numbers, np.arange(1, bins) / bins), return_counts=True)
    heavy = edges[repeats > 1]
    # The bin is wider than one number, because a value logged as float32 is not its float64 self.
    margin = np.maximum(np.abs(heavy) * _SAME, np.finfo(np.float32).tiny)
    return np.unique(np.concatenate([edges[repeats == 1], heavy - margin, heavy + margin]))


def histogram(values: npt.NDArray[Any], edges: Floats) -> Counts:
    """Counts, shape (len(edges) + 2,): bins [a, b) with open ends, and last what is null, NaN or infinite.

    >>> histogram(np.array([-5.0, 1.0, 2.0, np.nan]), np.array([0.0, 2.0])).tolist()
    [1, 1, 1, 1]
    """
    numbers = _numbers(values)
    bins = np.searchsorted(edges, numbers, side="right")
    # The sum of numbers is finite unless one of them is not, or they are huge: most columns need no closer look.
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(numbers.sum()):
            bins = np.where(np.isfinite(numbers), bins, len(edges) + 1)
    return np.bincount(bins, minlength=len(edges) + 2).astype(np.int64)


def drift_of(feature: str, expected: Counts, actual: Counts) -> Drift:
    """The distances of two counts over the same bins, the last of which is what is missing; DataError without rows."""
    expected_shares, actual_shares = shares(expected, actual)
    return Drift(
        feature=feature,
        psi=psi(expected, actual),
        jensen_shannon=jensen_shannon(expected, actual),
        l_infinity=l_infinity(expected, actual),
        null_share_expected=float(expected_shares[-1]),
        null_share_actual=float(actual_shares[-1]),
        rows=int(actual.sum()),
    )


def _is_number(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind in "fiu"


def _numbers(values: npt.NDArray[Any]) -> Floats:
    try:
        return values.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"values of a numeric feature are not numbers: {error}") from error


def _texts(values: npt.NDArray[Any]) -> pl.Series:
    if values.dtype == object:
        # Polars guesses the type of objects by the first of them, which may be missing.
        return pl.Series([None if v is None or v != v else _text(v) for v in values.tolist()], dtype=pl.String)
    return pl.Series(values, strict=False, nan_to_null=True).cast(pl.String)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _category_counts(values: npt.NDArray[Any], categories: tuple[str, ...]) -> Counts:
    texts = _texts(values)
    nulls = texts.null_count()
    rows = dict(texts.drop_nulls().value_counts(name="rows").iter_rows())
    known = [rows.get(category, 0) for category in categories]
    return np.array([*known, len(texts) - nulls - sum(known), nulls], dtype=np.int64)
