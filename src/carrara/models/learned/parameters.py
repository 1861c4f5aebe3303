"""What a version has learned, told by its kind, without the framework that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from carrara.core.errors import CarraraError, MissingExtra
from carrara.models.learned.centres import read_centres
from carrara.models.learned.forest import read_forest
from carrara.models.learned.graph import told_graph
from carrara.models.learned.linear import read_linear
from carrara.models.learned.net import read_net, told_weights


def told_parameters(learned: Mapping[str, bytes]) -> dict[str, Any]:
    """Coefficients, centres, layers, or how many trees; of an estimator of scikit-learn what was fitted; else the
    files."""
    model = read_linear(learned) or read_centres(learned) or read_net(learned)
    if model is not None:
        return model.as_dict()
    weights = told_weights(learned) or _graph(learned)
    if weights is not None:
        return weights
    files = {name: len(data) for name, data in learned.items()}
    try:
        forest = read_forest(learned)
    except CarraraError:
        return {"kind": "files", "files": files}
    if forest is not None:
        return {
            "kind": "trees",
            "trees": len(forest.trees),
            "leaves": sum(tree.leaves for tree in forest.trees),
            "depth": max((int(tree.depths().max()) for tree in forest.trees), default=0),
            "outputs": len(forest.base),
        }
    saved = learned.get("learned.json")
    if saved:
        return {"kind": "estimator", "learned": msgspec.json.decode(saved), "files": files}
    return {"kind": "files", "files": files}


def _graph(learned: Mapping[str, bytes]) -> dict[str, Any] | None:
    """The numbers of a graph, where it can be read here."""
    try:
        return told_graph(learned)
    except MissingExtra:
        return None
