"""Trees read without the framework that grew them, judged by the framework."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import xgboost

from carrara.models.learned.forest import read_forest
from carrara.models.learned.tree_view import Seen, gain_shares, row_path, view_tree

COLUMNS = ("a", "b", "zeros", "d")


def table(rows=3_000, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 4)).astype(np.float32)
    features[random.random(rows) < 0.2, 1] = np.nan
    features[random.random(rows) < 0.5, 2] = 0
    margin = features[:, 0] * 2 - np.nan_to_num(features[:, 1], nan=1.5) + features[:, 2] ** 2
    return features, margin + random.normal(0, 0.3, rows)


FEATURES, MARGIN = table()
UNSEEN, _ = table(500, seed=1)
LABELS = {
    "binary": (MARGIN > 0.5).astype(int),
    "multiclass": np.digitize(MARGIN, (-0.5, 1.5)),
    "regression": MARGIN * 100,
}


def grown_by_xgboost(kind, form):
    objective = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}[kind]
    parameters = {"objective": objective, "max_depth": 4, **({"num_class": 3} if kind == "multiclass" else {})}
    booster = xgboost.train(parameters, xgboost.QuantileDMatrix(FEATURES, LABELS[kind]), 12)
    margins = booster.predict(xgboost.DMatrix(UNSEEN), output_margin=True)
    answers = booster.inplace_predict(UNSEEN)
    return {"learned.json": bytes(booster.save_raw(form))}, margins, answers


def grown_by_lightgbm(kind, **more):
    parameters = {"objective": kind, "num_leaves": 9, "verbosity": -1, "num_threads": 1, **more}
    parameters |= {"num_class": 3} if kind == "multiclass" else {}
    booster = lightgbm.train(parameters, lightgbm.Dataset(FEATURES, LABELS[kind]), 12)
    text = booster.model_to_string()
    return {"learned.txt": text.encode()}, booster.predict(UNSEEN, raw_score=True), booster.predict(UNSEEN)


CASES = {
    **{f"xgboost {form} {kind}": (grown_by_xgboost, (kind, form)) for kind in LABELS for form in ("json", "ubj")},
    **{f"lightgbm {kind}": (grown_by_lightgbm, (kind,)) for kind in LABELS},
}


@pytest.mark.parametrize("case", CASES)
def test_the_leaves_of_a_row_add_up_to_the_raw_score_of_its_framework(case):
    grow, arguments = CASES[case]
    learned, margins, answers = grow(*arguments)
    forest = read_forest(learned)
    found = forest.margins(UNSEEN)
    np.testing.assert_allclose(found, np.reshape(margins, found.shape), rtol=2e-6, atol=2e-6 * np.abs(margins).max())
    np.testing.assert_allclose(forest.answers(found), np.reshape(answers, found.shape), rtol=1e-5, atol=1e-6)
    path = row_path(forest, UNSEEN, 7, tree=2)
    assert path.nodes[0] == 0
    assert forest.trees[2].value[path.nodes[-1]] == path.contributions[2]
    added = np.bincount([t.output for t in forest.trees], weights=path.contributions, minlength=len(path.base))
    assert path.base + added == pytest.approx(path.margin)


@pytest.mark.parametrize("more", [{"zero_as_missing": True}, {"use_missing": False}])
def test_missing_values_go_where_lightgbm_sends_them(more):
    learned, margins, _ = grown_by_lightgbm("regression", **more)
    np.testing.assert_allclose(read_forest(learned).margins(UNSEEN)[:, 0], margins, rtol=1e-9)


@pytest.mark.parametrize("case", ["xgboost json regression", "lightgbm regression"])
def test_the_rows_at_the_nodes_add_up_to_the_training_rows(case):
    grow, arguments = CASES[case]
    forest = read_forest(grow(*arguments)[0])
    seen = Seen(FEATURES, LABELS["regression"])
    for number in range(len(forest.trees)):
        view = view_tree(forest, COLUMNS, number, seen=seen)
        leaves = [node for node in view.nodes if node.value is not None]
        assert view.nodes[0].rows == sum(leaf.rows for leaf in leaves) == len(FEATURES)
        for node in view.nodes:
            below = [one for one in view.nodes if one.parent == node.number]
            assert [one.side for one in below] in ([], ["yes", "no"])
            assert not below or sum(one.rows for one in below) == node.rows
        mean = sum(leaf.rows * leaf.label for leaf in leaves) / len(FEATURES)
        assert mean == pytest.approx(LABELS["regression"].mean())
        assert view.gains == gain_shares(forest.trees[number], COLUMNS)
        assert sum(view.gains.values()) == pytest.approx(1)


def test_the_weights_that_lightgbm_has_kept_are_its_rows():
    forest = read_forest(grown_by_lightgbm("binary")[0])
    for tree in forest.trees:
        assert tree.weight.tolist() == tree.counts(FEATURES).tolist()
    unseen = view_tree(forest, COLUMNS, 0)
    assert unseen.nodes[0].rows is None
    seen = view_tree(forest, COLUMNS, 0, seen=Seen(FEATURES, LABELS["binary"].astype(float)))
    assert [node.share for node in unseen.nodes] == [node.share for node in seen.nodes]


def test_a_tree_of_several_classes_votes_for_one_of_them():
    forest = read_forest(grown_by_xgboost("multiclass", "json")[0])
    seen = Seen(FEATURES, LABELS["multiclass"].astype(float))
    view = view_tree(forest, COLUMNS, 1, classes=("low", "middle", "high"), seen=seen)
    assert view.output == "middle"
    assert view.nodes[0].label == pytest.approx((LABELS["multiclass"] == 1).mean())


def test_a_tree_that_found_no_split_is_one_leaf():
    booster = lightgbm.train(
        {"objective": "regression", "min_data_in_leaf": 5_000, "verbosity": -1},
        lightgbm.Dataset(FEATURES, LABELS["regression"]),
        1,
    )
    forest = read_forest({"learned.txt": booster.model_to_string().encode()})
    assert forest.trees[0].leaves == len(view_tree(forest, COLUMNS, 0).nodes) == 1
    np.testing.assert_allclose(forest.margins(UNSEEN)[:, 0], booster.predict(UNSEEN))


def test_what_is_no_forest_is_none():
    assert read_forest({"learned.json": b'{"features":["a"],"coefficients":[[1.0]]}'}) is None
    assert read_forest({"learned.npz": b"PK"}) is None
