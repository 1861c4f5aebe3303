"""Decision trees as plain arrays: where a row goes, and what its leaves add up to.

To add a format of trees: a function from its bytes to a `Forest`, and its file's name in `read_forest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEVER, ZERO, NAN = 0, 1, 2
"""Which values of a split's column are missing: none (NaN counts as 0), zeros and NaN, or NaN."""

_ALMOST_ZERO = 1e-35


@dataclass(frozen=True)
class Tree:
    """A tree by arrays of shape (nodes,), node 0 the root; a leaf has no children (-1).

    A split sends a row left where its `column` is below `threshold` (or at it, unless `strict`), and what is `missing`
    where `missing_left` says. `value` is what a leaf adds to the margin of `output`, `gain` by how much a split lowered
    the loss, `weight` what of the training rows came by: their number, or the sum of their Hessians.
    """

    left: Ints
    right: Ints
    column: Ints
    threshold: Floats
    missing: Ints
    missing_left: npt.NDArray[np.bool_]
    value: Floats
    gain: Floats
    weight: Floats
    output: int
    strict: bool

    def __len__(self) -> int:
        return len(self.left)

    @property
    def leaves(self) -> int:
        return int((self.left < 0).sum())

    def parents(self) -> Ints:
        """The node above each, -1 for the root."""
        found = np.full(len(self), -1, np.int64)
        splits = np.flatnonzero(self.left >= 0)
        found[self.left[splits]] = splits
        found[self.right[splits]] = splits
        return found

    def depths(self) -> Ints:
        """How many splits are above each node."""
        found = np.zeros(len(self), np.int64)
        waiting = [0]
        while waiting:
            node = waiting.pop()
            if self.left[node] >= 0:
                below = [int(self.left[node]), int(self.right[node])]
                found[below] = found[node] + 1
                waiting += below
        return found

    def leaves_of(self, rows: Array) -> Ints:
        """The leaf of each row; `rows` have shape (rows, columns)."""
        at = np.zeros(len(rows), np.int64)
        inside = np.flatnonzero(self.left[at] >= 0)
        while inside.size:
            nodes = at[inside]
            at[inside] = np.where(
                self._left(nodes, rows[inside, self.column[nodes]]), self.left[nodes], self.right[nodes]
            )
            inside = inside[self.left[at[inside]] >= 0]
        return at

    def path_of(self, row: Array) -> list[int]:
        """The nodes that a row of shape (columns,) comes by, from the root to its leaf."""
        path, parents = [int(self.leaves_of(row[None])[0])], self.parents()
        while path[-1]:
            path.append(int(parents[path[-1]]))
        return path[::-1]

    def counts(self, rows: Array) -> Ints:
        """How many of the rows come by each node."""
        return self.sums(self.leaves_of(rows), np.ones(len(rows))).astype(np.int64)

    def sums(self, leaves: Ints, values: Floats) -> Floats:
        """The sum of the values of the rows that come by each node; `leaves` are the rows' leaves."""
        found = np.bincount(leaves, weights=values, minlength=len(self)).astype(np.float64)
        depths, parents = self.depths(), self.parents()
        for node in np.argsort(-depths, kind="stable"):
            if node:
                found[parents[node]] += found[node]
        return found

    def _left(self, nodes: Ints, values: Array) -> npt.NDArray[np.bool_]:
        numbers = values.astype(np.float64)
        unknown = np.isnan(numbers)
        zero = unknown | (np.abs(numbers) <= _ALMOST_ZERO)
        kind = self.missing[nodes]
        missing = ((kind == NAN) & unknown) | ((kind == ZERO) & zero)
        known = np.where(unknown, 0.0, numbers)
        below = known < self.threshold[nodes] if self.strict else known <= self.threshold[nodes]
        return np.where(missing, self.missing_left[nodes], below)


@dataclass(frozen=True)
class Forest:
    """Trees whose leaves add up: the margin of an output is its `base`, float64 of shape (outputs,), and the leaves of
    its trees; `link` makes answers of margins."""

    trees: tuple[Tree, ...]
    base: Floats
    link: Literal["sigmoid", "softmax", "identity"]

    def contributions(self, rows: Array) -> Floats:
        """What each tree adds to each row, of shape (rows, trees)."""
        found = np.empty((len(rows), len(self.trees)))
        for place, tree in enumerate(self.trees):
            found[:, place] = tree.value[tree.leaves_of(rows)]
        return found

    def margins(self, rows: Array) -> Floats:
        """The sum of the leaves, of shape (rows, outputs)."""
        found = np.tile(self.base, (len(rows), 1))
        for tree, values in zip(self.trees, self.contributions(rows).T, strict=True):
            found[:, tree.output] += values
        return found

    def answers(self, margins: Floats) -> Floats:
        """Probabilities or numbers, in the shape of the margins."""
        if self.link == "identity":
            return margins
        if self.link == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-margins)))
        grown = np.exp(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def read_forest(learned: Mapping[str, bytes]) -> Forest | None:
    """The trees among the learned files of a version, None where there are none; CarraraError for trees of a kind that
    trainers here do not make."""
    from carrara.models.learned import lightgbm, sklearn, spark, xgboost

    if "learned.txt" in learned:
        return lightgbm.read(learned["learned.txt"].decode())
    saved = learned.get("learned.json", b"")
    if saved.startswith(sklearn.START):
        return sklearn.read(saved)
    if saved.startswith(spark.START):
        return spark.read(saved)
    return xgboost.read(saved) if saved.startswith((xgboost.JSON_START, xgboost.UBJ_START)) else None
