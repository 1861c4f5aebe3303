"""What there is to see of a tree: its splits by name, the rows that come by, and the way of one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.models.learned.forest import NAN, ZERO, Array, Floats, Forest, Tree


@dataclass(frozen=True)
class Seen:
    """Training rows to show at the nodes: the matrix, of shape (rows, columns), and a label each, or several."""

    rows: Array
    labels: Floats


@dataclass(frozen=True)
class Node:
    """A node: how it is come to (`side` of the `parent`), and how it splits, or what its leaf adds.

    `share` is what of the training rows comes by, `rows` how many, and `label` their mean label (of several classes the
    share of the tree's class); both are None where the rows are not there, and `share` is then by the sum of the
    Hessians, or the count, that the framework has kept.
    """

    number: int
    parent: int | None
    depth: int
    side: str | None
    feature: str | None
    rule: str | None
    threshold: float | None
    missing: str | None
    gain: float | None
    value: float | None
    share: float
    rows: int | None
    label: float | None


@dataclass(frozen=True)
class TreeView:
    """Tree `tree` of `trees`: its nodes from the root down, left before right, and each feature's share of its gain.

    `output` is the class that it votes for, None where there is only one output.
    """

    tree: int
    trees: int
    output: str | None
    nodes: tuple[Node, ...]
    gains: dict[str, float]

    @property
    def leaves(self) -> int:
        return sum(node.feature is None for node in self.nodes)

    @property
    def depth(self) -> int:
        return max(node.depth for node in self.nodes)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "leaves": self.leaves, "depth": self.depth, "nodes": [vars(node) for node in self.nodes]}


@dataclass(frozen=True)
class RowPath:
    """The way of a row: what each tree adds to its margin, the nodes of one tree that it comes by, and the answer.

    `base`, `margin` and `answer` have one number per output.
    """

    row: int
    base: list[float]
    contributions: list[float]
    margin: list[float]
    answer: list[float]
    nodes: list[int] | None

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def view_tree(
    forest: Forest, columns: Sequence[str], number: int, *, classes: Sequence[str] = (), seen: Seen | None = None
) -> TreeView:
    """Tree `number` of a forest, with the names of the matrix's columns."""
    tree = forest.trees[number]
    counts = labels = None
    if seen is not None:
        leaves = tree.leaves_of(seen.rows)
        truth = _truth(seen.labels, tree.output, len(forest.base))
        counts = tree.sums(leaves, np.ones(len(leaves)))
        labels = tree.sums(leaves, truth) / np.maximum(counts, 1)
    parents, depths = tree.parents(), tree.depths()
    weights = tree.weight if counts is None else counts
    nodes = []
    for node in _from_the_left(tree):
        parent, is_leaf = int(parents[node]), tree.left[node] < 0
        side = None if parent < 0 else "yes" if tree.left[parent] == node else "no"
        name, threshold = columns[tree.column[node]], float(tree.threshold[node])
        nodes.append(
            Node(
                number=node,
                parent=None if parent < 0 else parent,
                depth=int(depths[node]),
                side=side,
                feature=None if is_leaf else name,
                rule=None if is_leaf else f"{name} {'<' if tree.strict else '≤'} {threshold:.6g}",
                threshold=None if is_leaf else threshold,
                missing=None if is_leaf else _missing(tree, node),
                gain=None if is_leaf else float(tree.gain[node]),
                value=float(tree.value[node]) if is_leaf else None,
                share=float(weights[node] / weights[0]) if weights[0] else 0.0,
                rows=None if counts is None else int(counts[node]),
                label=None if labels is None or counts is None or not counts[node] else float(labels[node]),
            )
        )
    output = classes[tree.output] if len(forest.base) > 1 else None
    return TreeView(number, len(forest.trees), output, tuple(nodes), gain_shares(tree, columns))


def _truth(labels: Array, output: int, outputs: int) -> Floats:
    """What a tree of an output has learned to tell: a number, whether the row is of its class, or has its label."""
    if labels.ndim == 2:
        return np.asarray(labels[:, output], np.float64)
    return np.asarray(labels if outputs == 1 else labels == output, np.float64)


def gain_shares(tree: Tree, columns: Sequence[str]) -> dict[str, float]:
    """Each feature's share of what a tree's splits have gained, the largest first."""
    splits = tree.left >= 0
    gains = np.bincount(tree.column[splits], weights=tree.gain[splits], minlength=len(columns))
    order, total = np.argsort(-gains, kind="stable"), gains.sum() or 1.0
    return {columns[place]: float(gains[place] / total) for place in order if gains[place]}


def row_path(forest: Forest, rows: Array, number: int, tree: int | None = None) -> RowPath:
    """The way of row `number` of `rows`, which have shape (rows, columns), with its nodes in one tree."""
    one = rows[number : number + 1]
    margin = forest.margins(one)
    return RowPath(
        row=number,
        base=forest.base.tolist(),
        contributions=forest.contributions(one)[0].tolist(),
        margin=margin[0].tolist(),
        answer=forest.answers(margin)[0].tolist(),
        nodes=None if tree is None else forest.trees[tree].path_of(one[0]),
    )


def _from_the_left(tree: Tree) -> list[int]:
    order, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if tree.left[node] >= 0:
            waiting += [int(tree.right[node]), int(tree.left[node])]
    return order


def _missing(tree: Tree, node: int) -> str | None:
    """To which side a missing value goes; None where it counts as 0."""
    if tree.missing[node] not in (NAN, ZERO):
        return None
    return "yes" if tree.missing_left[node] else "no"
