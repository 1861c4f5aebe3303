"""How much the shift of each feature, by itself, changes the model's output: what drift is ranked by.

Of training rows one column is moved, row by row and no more than needed, to the distribution of a window, and the
model is asked again. A column that the model does not look at has no effect, however far it has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Score = Callable[[pl.DataFrame], Floats]
"""The model's output for rows of features, one number each."""

MOST_ROWS = 2_000


@dataclass(frozen=True)
class Effect:
    """The mean change of the output, without sign and with it, and the first in standard deviations of the output."""

    change: float
    shift: float
    deviations: float


def effects(
    score: Score, training: pl.DataFrame, window: pl.DataFrame, features: Sequence[str], *, seed: int = 0
) -> dict[str, Effect]:
    """The effect of each of `features`; both frames hold all features, some thousands of rows."""
    random = np.random.default_rng(seed)
    before = score(training)
    spread = float(before.std()) or 1.0
    found = {}
    for name in features:
        moved = training.with_columns(moved_to(training[name], window[name], random).alias(name))
        change = score(moved) - before
        size = float(np.abs(change).mean())
        found[name] = Effect(size, float(change.mean()), size / spread)
    return found


def moved_to(values: pl.Series, like: pl.Series, random: np.random.Generator) -> pl.Series:
    """`values` with the distribution of `like`, each value moved as little as that needs.

    Numbers go to the same quantile; texts stay what they are as far as there is room for them.
    """
    if values.dtype == pl.String:
        return _moved_texts(values, like.cast(pl.String), random)
    dtype = values.dtype
    ours, theirs = _numbers(values), _numbers(like)
    moved = _moved_numbers(ours, theirs[~np.isnan(theirs)], float(np.isnan(theirs).mean()), random)
    series = pl.Series(values.name, moved).fill_nan(None)
    return series.round().cast(dtype) if dtype.is_integer() else series.cast(dtype if dtype.is_float() else pl.Float64)


def _moved_numbers(values: Floats, like: Floats, missing: float, random: np.random.Generator) -> Floats:
    moved = values.copy()
    known = ~np.isnan(values)
    if like.size:
        ordered = np.sort(like)
        moved[known] = ordered[_places(values[known], ordered.size, random)]
    wanted = round(missing * len(values))
    there = int((~known).sum())
    if wanted > there:
        lost = random.choice(np.flatnonzero(known), wanted - there, replace=False)
        moved[lost] = np.nan
    elif wanted < there and like.size:
        found = random.choice(np.flatnonzero(~known), there - wanted, replace=False)
        moved[found] = random.choice(like, found.size)
    return moved


def _places(values: Floats, size: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """The place of each value among `size` ordered ones at the same quantile; equal values in any order."""
    order = np.lexsort((random.random(values.size), values))
    ranks = np.empty(values.size)
    ranks[order] = (np.arange(values.size) + 0.5) / max(values.size, 1)
    return np.minimum((ranks * size).astype(np.int64), size - 1)


def _moved_texts(values: pl.Series, like: pl.Series, random: np.random.Generator) -> pl.Series:
    ours, theirs = _shares(values), _shares(like)
    excess = {name: share - ours.get(name, 0.0) for name, share in theirs.items() if share > ours.get(name, 0.0)}
    names, weights = list(excess), np.array(list(excess.values()))
    cells: list[str | None] = values.to_list()
    if not names:
        return values
    drawn = random.choice(len(names), len(cells), p=weights / weights.sum())
    stays = random.random(len(cells))
    kept = [theirs.get(cell, 0.0) / ours[cell] for cell in cells]
    moved = [
        cell if stay < share else names[place]
        for cell, stay, share, place in zip(cells, stays, kept, drawn, strict=True)
    ]
    return pl.Series(values.name, moved, dtype=pl.String)


def _shares(values: pl.Series) -> Mapping[Any, float]:
    counts = values.alias("value").value_counts(name="rows")
    return {value: rows / len(values) for value, rows in counts.iter_rows()}


def _numbers(values: pl.Series) -> Floats:
    numbers: Floats = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)
