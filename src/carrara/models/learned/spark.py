"""Trees of Spark MLlib, from the JSON that its trainers keep: forests and gradient boosting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from carrara.models.learned.forest import NAN, Floats, Forest, Tree

START = b'{"spark":"'


def read(saved: bytes) -> Forest:
    """The trees of a model of MLlib."""
    found = msgspec.json.decode(saved)
    classifies, trees = str(found["spark"]).endswith("ClassificationModel"), found["trees"]
    if str(found["spark"]).startswith("GBT"):
        # Of two classes the margin is half the logarithm of the odds.
        scale = 2.0 if classifies else 1.0
        made = [_tree(tree, scale * tree["weight"] * _predictions(tree), 0) for tree in trees]
        return Forest(tuple(made), np.zeros(1), "sigmoid" if classifies else "identity")
    if not classifies:
        return Forest(tuple(_tree(tree, _predictions(tree) / len(trees), 0) for tree in trees), np.zeros(1), "identity")
    shares = [_shares(tree) for tree in trees]
    classes = shares[0].shape[1]
    shown = [1] if classes == 2 else range(classes)
    votes = [
        _tree(tree, share[:, place] / len(trees), output)
        for tree, share in zip(trees, shares, strict=True)
        for output, place in enumerate(shown)
    ]
    return Forest(tuple(votes), np.zeros(len(shown)), "identity")


def _predictions(tree: Mapping[str, Any]) -> Floats:
    return np.asarray(tree["prediction"], np.float64)


def _shares(tree: Mapping[str, Any]) -> Floats:
    """Of each class among the rows of a node, of shape (nodes, classes)."""
    counts = np.asarray(tree["impurityStats"], np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))


def _tree(tree: Mapping[str, Any], values: Floats, output: int) -> Tree:
    left = np.asarray(tree["leftChild"], np.int64)
    weight = np.asarray(tree["rawCount"], np.float64)
    leaf = left < 0
    return Tree(
        left=left,
        right=np.asarray(tree["rightChild"], np.int64),
        column=np.where(leaf, 0, np.asarray(tree["column"], np.int64)),
        threshold=np.where(leaf, 0.0, np.asarray(tree["threshold"], np.float64)),
        # To Spark NaN is not below any threshold.
        missing=np.full(len(left), NAN, np.int64),
        missing_left=np.zeros(len(left), np.bool_),
        value=np.where(leaf, values, 0.0),
        gain=np.where(leaf, 0.0, np.asarray(tree["gain"], np.float64) * weight),
        weight=weight,
        output=output,
        strict=False,
    )
