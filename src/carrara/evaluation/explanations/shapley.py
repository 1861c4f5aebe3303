"""Shapley values: what each feature adds to an answer, beside the mean answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from carrara.evaluation.explanations.dependence import Predict
from carrara.evaluation.weighing import Floats

_ORDERS = 8


@dataclass(frozen=True)
class Contributions:
    """What each feature adds to the answers of `rows`: `values` have shape (rows, features), or (rows, features,
    classes), and add up, with `base`, to what is explained: the `scale` ("margin" or "answer")."""

    rows: pl.DataFrame
    values: Floats
    base: Floats
    scale: str
    method: str


def sampled_contributions(
    predict: Predict, rows: pl.DataFrame, background: pl.DataFrame, *, orders: int = _ORDERS, seed: int = 0
) -> Contributions:
    """Contributions by sampled orders of the features, each also backwards (Strumbelj and Kononenko, 2014; Mitchell et
    al., 2022): in an order, features change one after the other from a background row's values to the row's own.

    They add up exactly to the answer less that of the background rows that each row has met.
    """
    random, names = np.random.default_rng(seed), rows.columns
    total: Any = 0.0
    base: Any = 0.0
    order = np.arange(len(names))
    for number in range(orders):
        order = random.permutation(len(names)) if number % 2 == 0 else order[::-1]
        met = background[random.integers(0, background.height, rows.height)]
        steps = [met]
        for place in order:
            steps.append(steps[-1].with_columns(rows[names[place]].alias(names[place])))
        found = np.asarray(predict(pl.concat(steps)), np.float64)
        answers = found.reshape(len(names) + 1, rows.height, *found.shape[1:])
        added = np.empty((len(names), *answers.shape[1:]))
        added[order] = np.diff(answers, axis=0)
        total = total + np.moveaxis(added, 0, 1)
        base = base + answers[0]
    return Contributions(rows, total / orders, base / orders, "answer", f"{orders} sampled orders of the features")


def summary(found: Contributions) -> dict[str, Any]:
    """Of each feature the mean |contribution|, and single ones beside the feature's value (of one output)."""
    means = np.abs(found.values).mean(axis=0)
    sizes = means if means.ndim == 1 else means.sum(axis=-1)
    single = found.values if found.values.ndim == 2 else None
    by_feature = {}
    for place, name in enumerate(found.rows.columns):
        one: dict[str, Any] = {"mean_abs": float(sizes[place])}
        if single is not None:
            values = found.rows[name]
            plain = values.fill_nan(None) if values.dtype.is_float() else values
            one |= {"values": plain.to_list(), "contributions": single[:, place].round(6).tolist()}
        by_feature[name] = one
    return {"scale": found.scale, "method": found.method, "rows": found.rows.height, "features": by_feature}
