"""How large a regression's errors probably are while no outcome is known: those of test rows that are alike.

On rows whose error is known, a small tree learns how large it is where; each row of a window may then have the error of
any of the rows in its leaf. So every metric of numbers has an expected value, as direct loss estimation (DLE, as
NannyML describes it) gives of one loss. Like CBPE it sees what a shift of the inputs does, and not a change of what
they mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DEPTH, _LEAST_ROWS, _BINS, _MOST_CATEGORIES = 6, 100, 20, 20


@dataclass(frozen=True)
class Alike:
    """The tested rows that are like those of a window: their places leaf by leaf (`tested`), of each leaf where it
    begins and how many they are, and the leaf of each row of the window."""

    tested: Ints
    begins: Ints
    sizes: Ints
    leaf: Ints

    def draw(self, random: np.random.Generator) -> Ints:
        """For each row of the window the place of any tested row of its leaf."""
        return self.tested[self._any_in(self.leaf, random)]

    def redrawn(self, random: np.random.Generator) -> Alike:
        """As other tested rows would have been: each leaf as many of its own, with repetition."""
        leaves = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return replace(self, tested=self.tested[self._any_in(leaves, random)])

    def _any_in(self, leaves: Ints, random: np.random.Generator) -> Ints:
        return self.begins[leaves] + (random.random(leaves.size) * self.sizes[leaves]).astype(np.int64)


def alike_rows(errors: Floats, tested: pl.DataFrame, window: pl.DataFrame) -> Alike:
    """For each row of a window the tested rows whose errors are as large as its own probably is.

    `errors` are those of the rows of `tested`, of shape (rows,); `window` has the same columns, the predictions among
    them. A leaf of the tree has 100 rows of `tested` or more.
    """
    codes = np.column_stack([_codes(tested[name], window[name]) for name in tested.columns])
    known, asked = np.arange(len(errors)), np.arange(len(errors), len(codes))
    leaves = _grown(codes, np.abs(errors), known, asked, _DEPTH)
    sizes = np.array([len(rows) for rows, _ in leaves])
    leaf = np.empty(window.height, np.int64)
    for place, (_, of_window) in enumerate(leaves):
        leaf[of_window - len(errors)] = place
    return Alike(np.concatenate([rows for rows, _ in leaves]), np.cumsum(sizes) - sizes, sizes, leaf)


def _grown(codes: Ints, losses: Floats, known: Ints, asked: Ints, depth: int) -> list[tuple[Ints, Ints]]:
    """The leaves of the tree that is grown on `known` rows: these, and the `asked` rows that fall with them."""
    cut = _best_cut(codes[known], losses[known]) if depth and asked.size else None
    if cut is None:
        return [(known, asked)]
    column, code = cut
    left, asked_left = codes[known, column] <= code, codes[asked, column] <= code
    return [
        *_grown(codes, losses, known[left], asked[asked_left], depth - 1),
        *_grown(codes, losses, known[~left], asked[~asked_left], depth - 1),
    ]


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
