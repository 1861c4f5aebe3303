"""Trees of scikit-learn, from the JSON that its trainer keeps: forests, single trees, gradient boosting, also that of
histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from carrara.core.errors import CarraraError
from carrara.models.learned.forest import NAN, Floats, Forest, Tree

START = b'{"class":"'

_AVERAGED = ("RandomForest", "ExtraTrees")
_ALONE = ("DecisionTree", "ExtraTree")
_BOOSTED = ("GradientBoosting",)
_HISTOGRAM = "HistGradientBoosting"
_LINKS: Mapping[str, Literal["identity", "sigmoid", "softmax"]] = {
    "IdentityLink": "identity",
    "LogitLink": "sigmoid",
    "MultinomialLogit": "softmax",
}


def read(saved: bytes) -> Forest | None:
    """The trees of an estimator, None where it is of none that are read here."""
    found = msgspec.json.decode(saved)
    name = str(found["class"])
    classifies = name.endswith("Classifier")
    if name.startswith(_AVERAGED) and "estimators_" in found:
        return _averaged([one["tree_"] for one in found["estimators_"]], classifies)
    if name.startswith(_ALONE) and "tree_" in found:
        return _averaged([found["tree_"]], classifies)
    if name.startswith(_HISTOGRAM) and found.get("link") in _LINKS:
        return _of_histograms(found)
    if name.startswith(_BOOSTED) and "learning_rate" in found:
        return _boosted(found, classifies)
    return None


def _averaged(trees: Sequence[Mapping[str, Any]], classifies: bool) -> Forest:
    """Answers are means over the trees: of a class its share at the leaf, of two classes that of the second."""
    values = [np.asarray(tree["values"], np.float64)[:, 0, :] for tree in trees]
    if not classifies:
        return Forest(
            tuple(_tree(t, v[:, 0] / len(trees), 0) for t, v in zip(trees, values, strict=True)), _zeros(1), "identity"
        )
    shares = [one / one.sum(axis=1, keepdims=True) for one in values]
    classes = shares[0].shape[1]
    shown = [1] if classes == 2 else list(range(classes))
    made = [
        _tree(tree, share[:, place] / len(trees), output)
        for tree, share in zip(trees, shares, strict=True)
        for output, place in enumerate(shown)
    ]
    return Forest(tuple(made), _zeros(len(shown)), "identity")


def _boosted(found: Mapping[str, Any], classifies: bool) -> Forest:
    outputs, rate = len(found["estimators_"]) // int(found["n_estimators_"]), float(found["learning_rate"])
    trees = [
        _tree(one["tree_"], rate * np.asarray(one["tree_"]["values"], np.float64)[:, 0, 0], number % outputs)
        for number, one in enumerate(found["estimators_"])
    ]
    init = found["init_"]
    if not classifies:
        base = np.asarray(init["constant_"], np.float64).reshape(-1)
        return Forest(tuple(trees), base, "identity")
    prior = np.clip(np.asarray(init["class_prior_"], np.float64), 1e-7, 1 - 1e-7)
    if outputs == 1:
        return Forest(tuple(trees), np.log(prior[1:] / prior[:1]), "sigmoid")
    return Forest(tuple(trees), np.log(prior), "softmax")


def _of_histograms(found: Mapping[str, Any]) -> Forest:
    """Trees of histogram gradient boosting: their leaves have the learning rate in them."""
    base = np.asarray(found["baseline"], np.float64)
    trees = [_histogram_tree(tree, number % len(base)) for number, tree in enumerate(found["predictors"])]
    return Forest(tuple(trees), base, _LINKS[found["link"]])


def _histogram_tree(tree: Mapping[str, Any], output: int) -> Tree:
    if any(tree["is_categorical"]):
        raise CarraraError("a tree that splits by categories cannot be read")
    leaf = np.asarray(tree["is_leaf"], np.bool_)
    return Tree(
        left=np.where(leaf, -1, np.asarray(tree["left"], np.int64)),
        right=np.where(leaf, -1, np.asarray(tree["right"], np.int64)),
        column=np.where(leaf, 0, np.asarray(tree["feature_idx"], np.int64)),
        threshold=np.where(leaf, 0.0, np.asarray(tree["num_threshold"], np.float64)),
        missing=np.full(len(leaf), NAN, np.int64),
        missing_left=np.asarray(tree["missing_go_to_left"], np.bool_),
        value=np.where(leaf, np.asarray(tree["value"], np.float64), 0.0),
        gain=np.where(leaf, 0.0, np.maximum(np.asarray(tree["gain"], np.float64), 0.0)),
        weight=np.asarray(tree["count"], np.float64),
        output=output,
        strict=False,
    )


def _tree(tree: Mapping[str, Any], values: Floats, output: int) -> Tree:
    left = np.asarray(tree["left_child"], np.int64)
    right = np.asarray(tree["right_child"], np.int64)
    weight = np.asarray(tree["weighted_n_node_samples"], np.float64)
    impurity = np.asarray(tree["impurity"], np.float64)
    leaf = left < 0
    below = weight[left] * impurity[left] + weight[right] * impurity[right]
    if (np.asarray(tree["feature"])[~leaf] < 0).any():
        raise CarraraError("a tree of scikit-learn splits by no column")
    return Tree(
        left=np.where(leaf, -1, left),
        right=np.where(leaf, -1, right),
        column=np.where(leaf, 0, np.asarray(tree["feature"], np.int64)),
        threshold=np.where(leaf, 0.0, np.asarray(tree["threshold"], np.float64)),
        missing=np.full(len(left), NAN, np.int64),
        missing_left=np.asarray(tree["missing_go_to_left"], np.bool_),
        value=np.where(leaf, values, 0.0),
        gain=np.where(leaf, 0.0, weight * impurity - below),
        weight=weight,
        output=output,
        strict=False,
    )


def _zeros(outputs: int) -> Floats:
    return np.zeros(outputs)
