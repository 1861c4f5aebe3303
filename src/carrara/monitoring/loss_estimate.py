"""How large a regression's errors probably are while no outcome is known: direct loss estimation.

On rows whose error is known, a small tree learns how large it is where; a window's rows are looked up in it. DLE, as
NannyML describes it, with a tree in the place of boosting: it never says more than was seen. Like CBPE it sees what a
shift of the inputs does, and not a change of what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ESTIMATED = ("mae", "rmse")
_DEPTH, _LEAST_ROWS, _BINS, _MOST_CATEGORIES = 6, 100, 20, 20


def estimated_errors(
    errors: Floats, tested: pl.DataFrame, window: pl.DataFrame, names: Sequence[str]
) -> dict[str, float]:
    """The expected value of each of ESTIMATED that is among `names` on the rows of a window.

    `errors` are those of the rows of `tested`, of shape (rows,); `window` has the same columns, the predictions among
    them. A leaf of the tree has 100 rows of `tested` or more.
    """
    codes = np.column_stack([_codes(tested[name], window[name]) for name in tested.columns])
    losses = np.column_stack([np.abs(errors), errors**2])
    known, asked = np.arange(len(errors)), np.arange(len(errors), len(codes))
    found = np.empty((window.height, 2))
    _look_up(codes, losses, known, asked, found, _DEPTH)
    absolute, squared = found.mean(axis=0)
    values = {"mae": float(absolute), "rmse": float(np.sqrt(squared))}
    return {name: values[name] for name in names if name in values}


def _look_up(codes: Ints, losses: Floats, known: Ints, asked: Ints, found: Floats, depth: int) -> None:
    """Grow the tree on `known` rows, with the `asked` rows that fall with them, and give these their leaf's losses."""
    cut = _best_cut(codes[known], losses[known, 0]) if depth and asked.size else None
    if cut is None:
        found[asked - len(losses)] = losses[known].mean(axis=0)
        return
    column, code = cut
    left, asked_left = codes[known, column] <= code, codes[asked, column] <= code
    _look_up(codes, losses, known[left], asked[asked_left], found, depth - 1)
    _look_up(codes, losses, known[~left], asked[~asked_left], found, depth - 1)


def _best_cut(codes: Ints, losses: Floats) -> tuple[int, int] | None:
    """The column and the code up to which rows go left, by which the squared error of the losses' mean falls most."""
    best, cut = 1e-9 * float(losses.var()) * len(losses), None
    centred = losses - losses.mean()
    for column in range(codes.shape[1]):
        size = int(codes[:, column].max()) + 1
        rows = np.cumsum(np.bincount(codes[:, column], minlength=size))[:-1]
        sums = np.cumsum(np.bincount(codes[:, column], centred, size))[:-1]
        fits = (rows >= _LEAST_ROWS) & (len(losses) - rows >= _LEAST_ROWS)
        if not fits.any():
            continue
        # The sum over both sides is 0: what one side's mean explains is known from the other's.
        gain = np.where(fits, sums**2 / np.maximum(rows, 1) + sums**2 / np.maximum(len(losses) - rows, 1), 0.0)
        place = int(gain.argmax())
        if gain[place] > best:
            best, cut = float(gain[place]), (column, place)
    return cut


def _codes(tested: pl.Series, window: pl.Series) -> Ints:
    """Small whole numbers for both, what is missing in a code of its own: bins of the tested rows, or categories."""
    if tested.dtype == pl.String:
        common = tested.drop_nulls().value_counts(sort=True).head(_MOST_CATEGORIES)[tested.name].to_list()
        places = {name: place + 1 for place, name in enumerate(common)}
        both = pl.concat([tested, window.cast(pl.String)])
        named: Any = both.replace_strict(places, default=len(common) + 1, return_dtype=pl.Int64)
        return np.where(both.is_null().to_numpy(), 0, named.to_numpy())
    numbers = [values.cast(pl.Float64).fill_null(float("nan")).to_numpy() for values in (tested, window)]
    there = numbers[0][np.isfinite(numbers[0])]
    edges = np.unique(np.quantile(there, np.arange(1, _BINS) / _BINS)) if there.size else np.empty(0)
    values = np.concatenate(numbers)
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right") + 1, 0).astype(np.int64)
