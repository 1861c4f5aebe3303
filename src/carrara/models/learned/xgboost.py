"""XGBoost's model files, JSON and UBJSON, read without XGBoost (format of 3.1 and later)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from carrara.core.errors import CarraraError
from carrara.models.learned.forest import NAN, Floats, Forest, Tree
from carrara.models.learned.ubjson import decode

JSON_START, UBJ_START = b'{"learner"', b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"

_LINKS = {
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "reg:squarederror": "identity",
    "rank:ndcg": "identity",
}


def read(data: bytes) -> Forest:
    """The trees of a saved booster; CarraraError for an objective, or a split, that trainers here do not make."""
    learner = (decode(data) if data.startswith(UBJ_START) else msgspec.json.decode(data))["learner"]
    objective = learner["objective"]["name"]
    if objective not in _LINKS:
        raise CarraraError(f"the trees of the objective '{objective}' cannot be read")
    model = learner["gradient_booster"]["model"]
    trees = zip(model["trees"], model["tree_info"], strict=True)
    return Forest(
        trees=tuple(_tree(tree, int(output)) for tree, output in trees),
        base=_base(learner["learner_model_param"]["base_score"], objective),
        link=_LINKS[objective],  # type: ignore[arg-type]
    )


def _base(text: str, objective: str) -> Floats:
    # Up to XGBoost 3.0 one number, since 3.1 one for each output: "[4.8E-1]".
    found = np.array([float(part) for part in text.strip("[]").split(",")], np.float32).astype(np.float64)
    return np.log(found / (1 - found)) if objective == "binary:logistic" else found


def _tree(tree: Mapping[str, Any], output: int) -> Tree:
    if any(tree["split_type"]):
        raise CarraraError("a tree that splits by categories cannot be read")
    left = np.asarray(tree["left_children"], np.int64)
    # XGBoost compares in float32, and JSON tells the shortest decimals of it.
    numbers = np.asarray(tree["split_conditions"], np.float32).astype(np.float64)
    leaf = left < 0
    return Tree(
        left=left,
        right=np.asarray(tree["right_children"], np.int64),
        column=np.asarray(tree["split_indices"], np.int64),
        threshold=np.where(leaf, 0.0, numbers),
        missing=np.full(len(left), NAN, np.int64),
        missing_left=np.asarray(tree["default_left"], np.bool_),
        value=np.where(leaf, numbers, 0.0),
        gain=np.asarray(tree["loss_changes"], np.float64),
        weight=np.asarray(tree["sum_hessian"], np.float64),
        output=output,
        strict=True,
    )
