"""What a model answers by: how much each feature matters, and how the answer moves with it.

In: the model's answers as a function of rows of features, and some labelled rows. Out: an `Explained` of plain data.
All of it asks the exported model, as it will be served, and knows nothing of what is inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from carrara.evaluation.explanations.dependence import Predict, grid, partial_dependence, two_way_dependence
from carrara.evaluation.explanations.permutation import permutation_importance
from carrara.evaluation.explanations.shapley import Contributions, sampled_contributions, summary
from carrara.evaluation.metrics import Kind, Metric
from carrara.evaluation.weighing import Floats, Ints

__all__ = [
    "Contributions",
    "Explained",
    "Predict",
    "explain",
    "grid",
    "partial_dependence",
    "permutation_importance",
    "sampled_contributions",
    "two_way_dependence",
]

_PERMUTED_ROWS, _PERMUTED_FEATURES = 2_000, 60
_DEPENDENCE_ROWS, _DEPENDENCE_FEATURES, _PAIR_ROWS = 300, 12, 100
_SHAPLEY_ROWS, _SHAPLEY_FEATURES = 150, 40


@dataclass(frozen=True)
class Explained:
    """By feature: `permutation` (by how much the metric falls when it is shuffled), `dependence` (the mean answer over
    a grid of its values) and `shap` (what it adds to single answers); `pairs` are two-way dependences."""

    permutation: Mapping[str, Any] = field(default_factory=dict)
    dependence: Mapping[str, Any] = field(default_factory=dict)
    shap: Mapping[str, Any] = field(default_factory=dict)
    pairs: Sequence[Mapping[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "permutation": dict(self.permutation),
            "dependence": dict(self.dependence),
            "shap": dict(self.shap),
            "pairs": list(self.pairs),
        }


def explain(
    predict: Predict,
    rows: pl.DataFrame,
    labels: Floats,
    importance: Mapping[str, float],
    by: Metric,
    *,
    kind: Kind = "binary",
    classes: Sequence[str] = (),
    contributions: Contributions | None = None,
    threshold: float = 0.5,
    groups: Ints | None = None,
    seed: int = 0,
) -> Explained:
    """Explain a model on a sample of labelled `rows` of features; `importance` says which are looked at, if not all.

    `contributions` are the exact ones of the first rows, where the model is of trees; else they are sampled. `groups`
    are the queries of a ranking, which are looked at whole.
    """
    order = sorted(rows.columns, key=lambda name: -importance.get(name, 0.0))
    chosen = np.sort(_drawn(np.arange(rows.height) if groups is None else groups, seed))
    sample, truth = rows[chosen], labels[chosen]
    few = sample.gather_every(max(1, sample.height // _DEPENDENCE_ROWS)).head(_DEPENDENCE_ROWS)
    shown = [name for name in order[:_DEPENDENCE_FEATURES] if grid(rows[name])]
    if contributions is None and len(order) <= _SHAPLEY_FEATURES:
        contributions = sampled_contributions(predict, sample.head(_SHAPLEY_ROWS), few, seed=seed)
    return Explained(
        permutation=permutation_importance(
            predict,
            sample,
            truth,
            order[:_PERMUTED_FEATURES],
            by,
            kind=kind,
            threshold=threshold,
            groups=None if groups is None else groups[chosen],
            seed=seed,
        ),
        dependence={name: _dependence(predict, few, rows, name, classes) for name in shown},
        shap={} if contributions is None else summary(contributions),
        pairs=[_pair(predict, few.head(_PAIR_ROWS), rows, pair) for pair in _pairs(shown[:3]) if not classes],
    )


def _drawn(groups: Ints, seed: int) -> Ints:
    """The places of some thousand rows, all of a group or none."""
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    taken = order[: max(1, int((np.cumsum(sizes[order]) <= _PERMUTED_ROWS).sum()))]
    return np.flatnonzero(np.isin(codes, taken))


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]


def _dependence(
    predict: Predict, few: pl.DataFrame, rows: pl.DataFrame, name: str, classes: Sequence[str]
) -> dict[str, Any]:
    values = grid(rows[name])
    found = partial_dependence(predict, few, name, values)
    curves = found.T.tolist() if found.ndim == 2 else [found.tolist()]
    return {"values": values, "answers": curves, **({"classes": list(classes)} if classes else {})}


def _pair(predict: Predict, few: pl.DataFrame, rows: pl.DataFrame, pair: tuple[str, str]) -> dict[str, Any]:
    values = [grid(rows[name], most=8) for name in pair]
    found = two_way_dependence(predict, few, pair, values)
    return {"features": list(pair), "values": values, "answers": found.tolist()}
