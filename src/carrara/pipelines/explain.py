"""Explains an exported model on its test rows, for the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.data.rows import Rows
from carrara.evaluation.explanations import Contributions, explain
from carrara.evaluation.metrics import Metric, metric
from carrara.models.learned.shap import by_feature, tree_contributions
from carrara.models.runtimes.base import COLUMNS, TRANSFORMS, Servable
from carrara.models.signature import Signature
from carrara.pipelines.trees import matrix_of
from carrara.storage.stores import Stores
from carrara.training.model import Model

_ROWS, _CONTRIBUTED_ROWS = 50_000, 400


def explained(
    stores: Stores, model: Model, servable: Servable, fitted: Mapping[str, Any], test: Rows, labels: Any, groups: Any
) -> dict[str, Any]:
    """What `evaluation.explanations` finds of the model, as plain data; empty where no metric has a direction."""
    by = _by(model)
    if by is None:
        return {}
    signature = servable.signature
    step = max(1, test.height // _ROWS)
    names = [spec.name for spec in signature.inputs]
    if groups is None or step == 1:
        rows = test.gather_every(step).select(names)
        labels = labels[::step]
    else:
        # Every n-th query, with all of its items.
        taken = groups % step == 0
        rows, labels, groups = test.select(names).filter(taken), labels[taken], groups[taken]
    found = explain(
        lambda asked: servable.run(signature.tensors(asked))[signature.outputs[0].name],
        rows,
        labels,
        fitted["importance"],
        by,
        kind=model.label.kind,
        classes=tuple(fitted["classes"]),
        contributions=_of_trees(stores, fitted, signature, rows),
        threshold=model.threshold,
        groups=groups,
        seed=model.seed,
    )
    return found.as_dict()


def _by(model: Model) -> Metric | None:
    named = (metric(one, model.label.kind) for one in model.measured)
    return next((one for one in named if one.greater_is_better is not None), None)


def _of_trees(
    stores: Stores, fitted: Mapping[str, Any], signature: Signature, rows: pl.DataFrame
) -> Contributions | None:
    """The exact contributions, of trees whose library tells them; a partitioned model's are sampled."""
    learned = stores.artifacts.get_files(fitted["learned"])
    if COLUMNS not in learned:
        return None
    few = rows.gather_every(max(1, rows.height // _CONTRIBUTED_ROWS)).head(_CONTRIBUTED_ROWS)
    matrix = matrix_of(signature, learned.get(TRANSFORMS), few)
    found = tree_contributions(learned, matrix)
    if found is None:
        return None
    values = by_feature(found, list(msgspec.json.decode(learned[COLUMNS]).values()), few.columns)
    base = found[..., -1]
    if values.shape[1] == 1:
        return Contributions(few, values[:, 0], base[:, 0], "margin", "TreeSHAP")
    return Contributions(few, np.moveaxis(values, 1, 2), base, "margin", "TreeSHAP")
