"""What each feature has added to an answer: the SHAP values of the library that grew the trees, or estimates."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl

from carrara.core.plugins import require
from carrara.models.registry import learned_files
from carrara.models.runtimes.base import COLUMNS, TRANSFORMS
from carrara.monitoring.judge import Judge
from carrara.pipelines.trees import matrix_of, read_trees

_ORDERS = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contributions:
    """By feature, in units of the model's margin or output; with `base` they add up to it. `by` says how."""

    values: dict[str, float]
    base: float | None
    by: str


def contributions_of(judge: Judge, row: pl.DataFrame) -> Contributions:
    """The contributions of one row of features."""
    try:
        found = _of_trees(judge, row)
    except Exception as error:  # trees of another kind, or their library is not here: there is another way
        _log.info("no contributions by the library of %s: %s", judge.version, error)
        found = None
    return found or _sampled(judge, row)


def _of_trees(judge: Judge, row: pl.DataFrame) -> Contributions | None:
    """Exact SHAP values by the framework's own code (Lundberg et al., 2020); None where these are not its trees."""
    files = learned_files(judge.stores, judge.version)
    if judge.version.format == "partitioned" or COLUMNS not in files:
        return None
    trees = read_trees(judge.stores, judge.version)
    matrix = matrix_of(trees.signature, files.get(TRANSFORMS), row)
    if "learned.txt" in files:
        lightgbm = require("lightgbm", extra="lightgbm", purpose="the contributions of a LightGBM model")
        booster = lightgbm.Booster(model_str=files["learned.txt"].decode())
        values, by = np.asarray(booster.predict(matrix, pred_contrib=True))[0], "SHAP values by LightGBM, in log odds"
    else:
        xgboost = require("xgboost", extra="xgboost", purpose="the contributions of an XGBoost model")
        booster = xgboost.Booster()
        booster.load_model(bytearray(files["learned.json"]))
        data = xgboost.DMatrix(matrix, feature_names=booster.feature_names)
        values, by = np.asarray(booster.predict(data, pred_contribs=True))[0], "SHAP values by XGBoost, in log odds"
    if judge.kind == "regression":
        by = by.replace(", in log odds", "")
    values = values.reshape(-1, len(trees.columns) + 1)
    # Of several classes, those of the class that the row most likely is.
    chosen = values[int(values.sum(axis=1).argmax())]
    made_of: dict[str, list[str]] = msgspec.json.decode(files[COLUMNS])
    added: dict[str, float] = dict.fromkeys(judge.features, 0.0)
    for sources, value in zip(made_of.values(), chosen[:-1], strict=True):
        for name in sources:
            added[name] += float(value) / len(sources)
    return Contributions(added, float(chosen[-1]), by)


def _sampled(judge: Judge, row: pl.DataFrame) -> Contributions:
    """Shapley values by sampling orders of the features (Štrumbelj and Kononenko, 2014), against training rows."""
    training = judge.training
    if training is None or training.is_empty():
        return Contributions({}, None, "No contributions: the training set is no longer there")
    random, names = np.random.default_rng(0), list(judge.features)
    added, base, steps = dict.fromkeys(names, 0.0), 0.0, np.arange(len(names) + 1)
    for _ in range(_ORDERS):
        other = training[int(random.integers(training.height))]
        order = random.permutation(len(names))
        # Row k of the frame has the first k features of the order from the row that is explained.
        ranks = np.empty(len(names), np.int64)
        ranks[order] = np.arange(len(names))
        columns = {
            name: pl.concat([_plain(other[name]), _plain(row[name])])[(ranks[place] < steps).astype(np.int64)]
            for place, name in enumerate(names)
        }
        scores = judge.score(pl.DataFrame(columns))
        base += float(scores[0]) / _ORDERS
        for place, feature in enumerate(order):
            added[names[feature]] += float(scores[place + 1] - scores[place]) / _ORDERS
    return Contributions(added, base, f"Shapley values from {_ORDERS} sampled orders, in the output's unit")


def _plain(values: pl.Series) -> pl.Series:
    """Texts, or numbers: a training set keeps booleans and whole numbers as such, and the log does not."""
    return values if values.dtype == pl.String else values.cast(pl.Float64)
