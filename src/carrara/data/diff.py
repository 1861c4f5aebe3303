"""Two versions of a dataset: what changed in its columns, its distributions, and its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from carrara.core.columns import require_column
from carrara.core.errors import CarraraError
from carrara.data.comparison import counted_by_value, distances
from carrara.data.row_checks import plain
from carrara.data.statistics import Statistics
from carrara.data.versions import dataset_version, read_dataset, read_statistics
from carrara.storage.stores import Stores

_SAMPLES = 10


@dataclass(frozen=True)
class ColumnDiff:
    """One column before and now; `change` is added, removed, type, distribution, or none."""

    column: str
    change: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    distance: float
    measure: str


@dataclass(frozen=True)
class RowDiff:
    """The rows by their key: how many are only in one version, how many differ, and where, with both values."""

    added: int
    removed: int
    same: int
    changed: int
    changed_by_column: dict[str, int]
    samples: list[dict[str, Any]]


@dataclass(frozen=True)
class DatasetDiff:
    """What changed between two versions of a dataset; `rows` only where they were compared by a key."""

    name: str
    before: int
    after: int
    rows_before: int
    rows_after: int
    columns: list[ColumnDiff]
    rows: RowDiff | None

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "columns": [vars(column) for column in self.columns],
            "rows": vars(self.rows) if self.rows is not None else None,
        }


def diff_versions(
    stores: Stores, name: str, before: int | None, after: int | None, key: tuple[str, ...] = ()
) -> DatasetDiff:
    """Compare two versions, by default the newest and the one before it; row by row where a `key` is given.

    A key that repeats in a version raises CarraraError: its rows cannot be told apart.
    """
    now = dataset_version(stores, name, after)
    if before is None and now.version == 1:
        raise CarraraError(f"dataset '{name}' has one version only", hint="A diff needs two; ingest again.")
    then = dataset_version(stores, name, before if before is not None else now.version - 1)
    columns = column_diffs(read_statistics(stores, then), read_statistics(stores, now))
    rows = None
    if key:
        frames = [read_dataset(stores, name, version.version) for version in (then, now)]
        rows = row_diff(frames[0], frames[1], key, f"dataset '{name}'")
    return DatasetDiff(name, then.version, now.version, then.rows, now.rows, columns, rows)


def column_diffs(before: Statistics, after: Statistics) -> list[ColumnDiff]:
    """Each column of either side, those that changed the most first."""
    then, now = before.summary(), after.summary()
    found = []
    for name in [*then, *(other for other in now if other not in then)]:
        one, other = then.get(name), now.get(name)
        change, measure, distance = "none", "", 0.0
        if one is None or other is None:
            change, distance = ("added" if one is None else "removed"), 1.0
        elif one["type"] != other["type"]:
            change, distance = "type", 1.0
        else:
            moved = distances(before.columns[name], after.columns[name], _measures(before, name))
            if moved:
                measure, distance = moved[0].measure, moved[0].value
                change = "distribution" if distance > moved[0].noise else "none"
        found.append(ColumnDiff(name, change, _short(one), _short(other), distance, measure))
    return sorted(found, key=lambda column: -column.distance)


def row_diff(before: pl.LazyFrame, after: pl.LazyFrame, key: tuple[str, ...], where: str) -> RowDiff:
    """Compare rows by their key, over the columns that both sides have in one type; null equals null, NaN NaN."""
    then, now = before.collect_schema(), after.collect_schema()
    for name in key:
        require_column(then, name, where)
        require_column(now, name, where)
    for frame in (before, after):
        if frame.select(pl.struct(key).is_duplicated().any()).collect().item():
            raise CarraraError(
                f"the key {', '.join(key)} of {where} repeats", hint="Name columns that tell rows apart."
            )
    compared = [name for name in then if name not in key and now.get(name) == then[name]]
    joined = before.select(*key, *compared, _then=True).join(
        after.select(*key, *compared, _now=True),
        on=list(key),
        how="full",
        coalesce=True,
        suffix=" now",
        nulls_equal=True,
    )
    in_both = pl.col("_then").is_not_null() & pl.col("_now").is_not_null()
    differs = {name: in_both & pl.col(name).ne_missing(pl.col(f"{name} now")) for name in compared}
    any_differs = pl.any_horizontal(differs.values()) if differs else pl.lit(False)
    counted = joined.select(
        added=pl.col("_then").is_null().sum(),
        removed=pl.col("_now").is_null().sum(),
        both=in_both.sum(),
        changed=any_differs.sum(),
        **{f"column {name}": condition.sum() for name, condition in differs.items()},
    ).collect(engine="streaming")
    totals = counted.row(0, named=True)
    by_column = {name: totals[f"column {name}"] for name in compared if totals[f"column {name}"]}
    samples = joined.filter(any_differs).head(_SAMPLES).collect().to_dicts() if by_column else []
    return RowDiff(
        added=totals["added"],
        removed=totals["removed"],
        same=totals["both"] - totals["changed"],
        changed=totals["changed"],
        changed_by_column=dict(sorted(by_column.items(), key=lambda item: -item[1])),
        samples=[_sample(row, key, list(by_column)) for row in samples],
    )


def _sample(row: dict[str, Any], key: tuple[str, ...], columns: list[str]) -> dict[str, Any]:
    changed = {c: [plain(row[c]), plain(row[f"{c} now"])] for c in columns if row[c] != row[f"{c} now"]}
    return {"key": {name: plain(row[name]) for name in key}, "changed": changed}


def _measures(statistics: Statistics, name: str) -> dict[str, float]:
    return {"l_infinity" if counted_by_value(statistics.columns[name]) else "kolmogorov_smirnov": 0.0}


def _short(column: dict[str, Any] | None) -> dict[str, Any] | None:
    kept = ("type", "rows", "nulls", "distinct", "mean", "std", "min", "max")
    return None if column is None else {key: column[key] for key in kept if key in column}
