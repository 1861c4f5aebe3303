"""Exact Shapley values of trees, by the libraries that made them: TreeSHAP (Lundberg et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from carrara.core.plugins import require
from carrara.models.learned.forest import Array, Floats
from carrara.models.learned.xgboost import JSON_START, UBJ_START

_PURPOSE = "the contributions of features"


def tree_contributions(learned: Mapping[str, bytes], matrix: Array) -> Floats | None:
    """What each column adds to the margin of each row, of shape (rows, outputs, columns + 1); the last is the mean.

    None where what was learned are no trees of XGBoost or LightGBM. `matrix` has shape (rows, columns).
    """
    saved = learned.get("learned.json", b"")
    if "learned.txt" in learned:
        lightgbm = require("lightgbm", extra="lightgbm", purpose=_PURPOSE)
        booster = lightgbm.Booster(model_str=learned["learned.txt"].decode())
        found = np.asarray(booster.predict(matrix, pred_contrib=True), np.float64)
        return found.reshape(len(matrix), -1, matrix.shape[1] + 1)
    if saved.startswith((JSON_START, UBJ_START)):
        xgboost = require("xgboost", extra="xgboost", purpose=_PURPOSE)
        booster = xgboost.Booster(model_file=bytearray(saved))
        found = np.asarray(booster.predict(xgboost.DMatrix(matrix), pred_contribs=True), np.float64)
        return found if found.ndim == 3 else found[:, None, :]
    return None


def by_feature(found: Floats, sources: Sequence[Sequence[str]], features: Sequence[str]) -> Floats:
    """The columns' contributions added up to those of the features they are made of, of shape (rows, outputs,
    features); a column that is made of several is shared by them."""
    shares = np.zeros((len(sources), len(features)))
    places = {name: place for place, name in enumerate(features)}
    for column, names in enumerate(sources):
        for name in names:
            shares[column, places[name]] = 1 / len(names)
    return found[..., :-1] @ shares
