"""Explanations, with scikit-learn and brute force as the judges."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.inspection import partial_dependence as judge

from carrara.evaluation.explanations import (
    explain,
    grid,
    partial_dependence,
    permutation_importance,
    sampled_contributions,
    two_way_dependence,
)
from carrara.evaluation.metrics import metric

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3))
Y = X[:, 0] * 2 + X[:, 1] * X[:, 2]
MODEL = GradientBoostingRegressor(random_state=0).fit(X, Y)
ROWS = pl.DataFrame(X, schema=["a", "b", "c"])


def predict(rows):
    return MODEL.predict(rows.to_numpy())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_partial_dependence_and_its_grid_equal_scikit_learn(place):
    expected = judge(MODEL, X, [place], method="brute", grid_resolution=20, kind="average")
    values = grid(ROWS["abc"[place]], most=20)
    np.testing.assert_allclose(values, expected["grid_values"][0], rtol=1e-12)
    np.testing.assert_allclose(
        partial_dependence(predict, ROWS, "abc"[place], values), expected["average"][0], atol=1e-6
    )


def test_two_way_dependence_equals_scikit_learn():
    expected = judge(MODEL, X, [(1, 2)], method="brute", grid_resolution=6, kind="average")
    values = [grid(ROWS[name], most=6) for name in "bc"]
    np.testing.assert_allclose(two_way_dependence(predict, ROWS, ("b", "c"), values), expected["average"][0], atol=1e-6)


def test_a_grid_has_whole_numbers_and_texts_as_they_are():
    assert grid(pl.Series(range(100)), most=5) == [4.0, 27.0, 50.0, 72.0, 95.0]
    assert grid(pl.Series(["b", "a", "b", None])) == ["a", "b"]
    assert len(grid(pl.Series([f"v{n}" for n in range(50)]), most=10)) == 10
    assert grid(pl.Series([None, None], dtype=pl.Float64)) == []


def test_a_feature_that_is_not_read_has_no_permutation_importance():
    found = permutation_importance(
        lambda rows: rows["a"].to_numpy() * 2, ROWS, X[:, 0] * 2, ["a", "b"], metric("rmse"), kind="regression"
    )
    assert found["b"]["fall"] == 0
    assert found["a"]["fall"] > 1
    assert found["a"]["least"] <= found["a"]["fall"] <= found["a"]["greatest"]


def test_sampled_contributions_are_near_the_shapley_values_of_all_orders():
    rows, background = ROWS.head(4), ROWS.slice(10, 1)
    found = sampled_contributions(predict, rows, background, orders=40)
    expected = np.zeros((4, 3))
    for order in permutations(range(3)):
        met = np.repeat(background.to_numpy(), 4, axis=0)
        for place in order:
            before = MODEL.predict(met)
            met[:, place] = X[:4, place]
            expected[:, place] += (MODEL.predict(met) - before) / 6
    np.testing.assert_allclose(found.values, expected, atol=0.35)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, predict(rows), atol=1e-9)


def test_of_an_additive_model_sampled_contributions_are_exact():
    weights = np.array([1.0, -2.0, 0.5])
    found = sampled_contributions(lambda rows: rows.to_numpy() @ weights, ROWS.head(5), ROWS.slice(10, 1))
    np.testing.assert_allclose(found.values, (X[:5] - X[10]) * weights, atol=1e-9)


def test_a_model_is_explained_as_plain_data():
    found = explain(predict, ROWS, Y, {"a": 0.7, "b": 0.2, "c": 0.1}, metric("rmse"), kind="regression").as_dict()
    assert [pair["features"] for pair in found["pairs"]] == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert set(found["permutation"]) == set(found["dependence"]) == set(found["shap"]["features"]) == {"a", "b", "c"}
    assert found["shap"]["features"]["a"]["mean_abs"] > found["shap"]["features"]["b"]["mean_abs"]
