"""Permutation importance (Breiman, 2001): by how much a metric gets worse when a feature is shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from carrara.evaluation.explanations.dependence import Predict
from carrara.evaluation.metrics import Kind, Metric, labelled_rows, rows_weights
from carrara.evaluation.weighing import Floats, Ints

_TIMES = 3


def permutation_importance(
    predict: Predict,
    rows: pl.DataFrame,
    labels: Floats,
    names: Sequence[str],
    by: Metric,
    *,
    kind: Kind = "binary",
    threshold: float = 0.5,
    groups: Ints | None = None,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Of each feature the mean fall of the metric over three shuffles (a rise of one where less is better), and the
    least and the greatest of them."""
    random, sign = np.random.default_rng(seed), 1 if by.greater_is_better else -1

    def measured(asked: pl.DataFrame) -> float:
        found = labelled_rows(kind, labels, predict(asked), threshold=threshold, groups=groups)
        return float(by.kernel(found, rows_weights(found)))

    whole, found = measured(rows), {}
    for name in names:
        shuffled = [rows[name].gather(random.permutation(rows.height)) for _ in range(_TIMES)]
        falls = [sign * (whole - measured(rows.with_columns(one))) for one in shuffled]
        if not np.isnan(falls).any():
            found[name] = {
                "metric": by.name,
                "fall": float(np.mean(falls)),
                "least": float(min(falls)),
                "greatest": float(max(falls)),
            }
    return found
