"""Trees of scikit-learn read without it, judged by it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn import ensemble, tree

from carrara.models.learned.forest import read_forest
from carrara.training.trainers.sklearn import _learned

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 4)).astype(np.float32)
MARGIN = X[:, 0] * 2 + X[:, 1] * X[:, 2]
LABELS = {"binary": (MARGIN > 0).astype(int), "multiclass": np.digitize(MARGIN, (-1, 1)), "regression": MARGIN * 10}
UNSEEN = RANDOM.normal(size=(200, 4)).astype(np.float32)
GROWN = {
    "forest": (ensemble.RandomForestClassifier(8, random_state=0), ensemble.RandomForestRegressor(8, random_state=0)),
    "extra": (ensemble.ExtraTreesClassifier(8, random_state=0), ensemble.ExtraTreesRegressor(8, random_state=0)),
    "tree": (tree.DecisionTreeClassifier(random_state=0), tree.DecisionTreeRegressor(random_state=0)),
    "boosted": (
        ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0),
        ensemble.GradientBoostingRegressor(n_estimators=8, random_state=0),
    ),
    "histograms": (
        ensemble.HistGradientBoostingClassifier(max_iter=8, random_state=0),
        ensemble.HistGradientBoostingRegressor(max_iter=8, random_state=0),
    ),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", GROWN)
def test_the_leaves_of_a_row_add_up_to_the_answer_of_scikit_learn(name, kind):
    model = GROWN[name][kind == "regression"].fit(X, LABELS[kind])
    forest = read_forest({"learned.json": msgspec.json.encode(_learned(model))})
    found = forest.answers(forest.margins(UNSEEN))
    if kind == "regression":
        expected = model.predict(UNSEEN)[:, None]
    else:
        expected = model.predict_proba(UNSEEN)
        expected = expected[:, 1:] if kind == "binary" else expected
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_missing_values_go_the_way_that_trees_of_histograms_send_them():
    holes = np.where(RANDOM.random(X.shape) < 0.2, np.nan, X)
    model = ensemble.HistGradientBoostingClassifier(max_iter=8, random_state=0).fit(holes, LABELS["binary"])
    forest = read_forest({"learned.json": msgspec.json.encode(_learned(model))})
    asked = np.where(RANDOM.random(UNSEEN.shape) < 0.3, np.nan, UNSEEN)
    expected = model.predict_proba(asked)[:, 1:]
    np.testing.assert_allclose(forest.answers(forest.margins(asked)), expected, rtol=1e-6, atol=1e-9)
    assert forest.trees[0].weight[0] == 600


def test_trees_of_another_link_are_not_read_as_if_they_added_up():
    model = ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=2).fit(X, LABELS["binary"])
    assert read_forest({"learned.json": msgspec.json.encode(_learned(model))}) is None


def test_the_rows_at_the_root_are_all_that_were_grown_from():
    model = tree.DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, LABELS["binary"])
    (only,) = read_forest({"learned.json": msgspec.json.encode(_learned(model))}).trees
    assert only.counts(X).tolist() == only.weight.astype(int).tolist()
    assert only.gain[0] > 0


def test_an_estimator_without_trees_has_none():
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(X, LABELS["binary"])
    assert read_forest({"learned.json": msgspec.json.encode(_learned(model))}) is None
