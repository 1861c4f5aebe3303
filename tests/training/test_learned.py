"""What every trainer has learned is read back without its framework, and answers as the served model does."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from test_trainers import KINDS, PARTS, fit, scores

from carrara.models.learned.forest import read_forest
from carrara.models.learned.linear import read_linear
from carrara.models.learned.net import read_net
from carrara.models.learned.parameters import told_parameters
from carrara.models.learned.shap import by_feature, tree_contributions
from carrara.models.runtimes.base import COLUMNS, TRANSFORMS
from carrara.pipelines.trees import matrix_of
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.lightgbm import LightGBM
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.sklearn import Sklearn
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.xgboost import XGBoost
from carrara.training.transforms.numbers import Impute, Standardise
from carrara.training.transforms.texts import Vocabulary

TEST = PARTS["test"]
TREES = {"xgboost": XGBoost(trees=40, depth=3), "lightgbm": LightGBM(trees=40, leaves=7)}


def matrix(made):
    return matrix_of(made.signature, made.learned.get(TRANSFORMS), TEST)


def activated(kind, margins):
    if kind == "multiclass":
        grown = np.exp(margins - margins.max(axis=1, keepdims=True))
        return grown / grown.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-margins[:, 0])) if kind == "binary" else margins[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_model_is_its_coefficients(tmp_path, kind):
    made = fit(kind, Linear())
    linear = read_linear(made.learned)
    assert linear.columns == tuple(msgspec.json.decode(made.learned[COLUMNS]))
    np.testing.assert_allclose(
        activated(kind, linear.margins(matrix(made))), scores(made, tmp_path), rtol=1e-3, atol=1e-5
    )
    told = told_parameters(made.learned)
    sizes = [max(map(abs, one["coefficients"])) for one in told["coefficients"]]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", [Torch, pytest.param(Keras, marks=pytest.mark.slow)])
def test_a_net_is_its_layers(tmp_path, framework, kind):
    trainer = framework(epochs=2, batch_rows=256, layers=(16, 8))
    made = fit(kind, trainer, transforms=(Impute(), Standardise(), Vocabulary()))
    net = read_net(made.learned)
    np.testing.assert_allclose(activated(kind, net.margins(matrix(made))), scores(made, tmp_path), rtol=1e-3, atol=1e-4)
    told = told_parameters(made.learned)
    assert told["parameters"] == made.summary["parameters"]
    assert [one["layer"] for one in told["layers"][:3]] == ["embedding 1", "dense 1", "dense 1 offsets"]
    assert all(sum(one["histogram"]["counts"]) == one["parameters"] for one in told["layers"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TREES)
def test_trees_are_their_splits_and_tell_what_each_feature_adds(tmp_path, name, kind):
    made = fit(kind, TREES[name])
    forest, rows = read_forest(made.learned), matrix(made)
    margins = forest.margins(rows)
    np.testing.assert_allclose(
        activated(kind, margins).reshape(-1), scores(made, tmp_path).reshape(-1), rtol=1e-3, atol=1e-4
    )
    found = tree_contributions(made.learned, rows)
    np.testing.assert_allclose(found.sum(axis=2), margins, rtol=1e-3, atol=1e-3)
    sources, features = (
        list(msgspec.json.decode(made.learned[COLUMNS]).values()),
        [s.name for s in made.signature.inputs],
    )
    added = by_feature(found, sources, features)
    assert added.shape == (len(rows), margins.shape[1], 4)
    np.testing.assert_allclose(added.sum(axis=2), found[..., :-1].sum(axis=2), rtol=1e-4, atol=1e-6)
    told = told_parameters(made.learned)
    assert (told["kind"], told["trees"]) == ("trees", len(forest.trees))


def test_an_estimator_of_scikit_learn_is_its_fitted_attributes(tmp_path):
    made = fit("binary", Sklearn(LogisticRegression()))
    learned = told_parameters(made.learned)["learned"]
    margins = matrix(made) @ np.array(learned["coef_"]).T + np.array(learned["intercept_"])
    np.testing.assert_allclose(activated("binary", margins), scores(made, tmp_path), rtol=1e-3, atol=1e-5)
