"""LightGBM's text format, read without LightGBM (format v4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from carrara.core.errors import CarraraError
from carrara.models.learned.forest import Floats, Forest, Ints, Tree

_LINKS = {"binary": "sigmoid", "multiclass": "softmax", "regression": "identity", "lambdarank": "identity"}
_CATEGORIES, _LEFT = 1, 2


def read(text: str) -> Forest:
    """The trees of a saved booster; CarraraError for an objective, or a split, that trainers here do not make."""
    head, *blocks = text.partition("end of trees")[0].split("\nTree=")
    header = _fields(head)
    objective = header["objective"].split()[0]
    if objective not in _LINKS:
        raise CarraraError(f"the trees of the objective '{objective}' cannot be read")
    outputs = int(header["num_tree_per_iteration"])
    return Forest(
        trees=tuple(_tree(_fields(block), number % outputs) for number, block in enumerate(blocks)),
        base=np.zeros(outputs),
        link=_LINKS[objective],  # type: ignore[arg-type]
    )


def _fields(block: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree(fields: Mapping[str, str], output: int) -> Tree:
    """Its splits come first, then its leaves, which the format counts from -1 down."""
    leaves = int(fields["num_leaves"])
    splits = leaves - 1
    kinds = _ints(fields.get("decision_type", ""))
    if (kinds & _CATEGORIES).any() or fields.get("is_linear", "0") != "0":
        raise CarraraError("a tree that splits by categories, or whose leaves are linear, cannot be read")

    def children(name: str) -> Ints:
        found = _ints(fields.get(name, ""))
        return np.concatenate([np.where(found < 0, splits - 1 - found, found), np.full(leaves, -1)])

    def padded(values: Floats | Ints) -> Floats:
        return np.concatenate([values, np.zeros(leaves)])

    counts = [_ints(fields.get("internal_count", "")), _ints(fields.get("leaf_count", "0"))]
    return Tree(
        left=children("left_child"),
        right=children("right_child"),
        column=padded(_ints(fields.get("split_feature", ""))).astype(np.int64),
        threshold=padded(_floats(fields.get("threshold", ""))),
        missing=padded(kinds >> 2 & 3).astype(np.int64),
        missing_left=padded(kinds & _LEFT).astype(np.bool_),
        value=np.concatenate([np.zeros(splits), _floats(fields["leaf_value"])]),
        gain=padded(_floats(fields.get("split_gain", ""))),
        weight=np.concatenate(counts).astype(np.float64),
        output=output,
        strict=False,
    )


def _ints(text: str) -> Ints:
    return np.array(text.split(), dtype=np.int64)


def _floats(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)
