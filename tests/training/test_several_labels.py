"""Several labels by every trainer that learns them: an equal graph, and what each label is told by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier

from carrara.core.errors import ColumnTypeMismatch, TrainingError
from carrara.data.splits import TimeSplit
from carrara.models.learned.forest import read_forest
from carrara.models.runtimes.base import open_servable
from carrara.training.fit import fit_model, prepare
from carrara.training.labels import queries
from carrara.training.model import Label, Model
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.sklearn import Sklearn
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.xgboost import XGBoost

RANDOM = np.random.default_rng(2)
ROWS, NAMES = 900, ("big", "far", "rare")
X = RANDOM.normal(size=(ROWS, 3))
TRUTH = X + RANDOM.normal(0, 0.3, X.shape) > (0.0, 0.5, 1.5)
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(ROWS)],
        **{f"v:{name}": X[:, place] for place, name in enumerate("abc")},
        **{name: TRUTH[:, place] for place, name in enumerate(NAMES)},
        "tags": pl.Series(
            [[n for n, t in zip(NAMES, row, strict=True) if t] for row in TRUTH], dtype=pl.List(pl.String)
        ),
    }
)
PARTS = {"train": TABLE[:600], "validation": TABLE[600:750], "test": TABLE[750:]}
FEATURES = ("v:a", "v:b", "v:c")


def model(trainer, column="tags"):
    split = TimeSplit(validation_from="2024-01-02", test_from="2024-01-03")
    return Model("m", FEATURES, Label("rows", column, "at", kind="multilabel"), split, trainer)


TRAINERS = {
    "xgboost": XGBoost(trees=20, depth=3),
    "linear": Linear(),
    "forest": Sklearn(RandomForestClassifier(20)),
    "one each": Sklearn(MultiOutputClassifier(LogisticRegression())),
    "one against the rest": Sklearn(OneVsRestClassifier(LogisticRegression())),
    "perceptron": Sklearn(MLPClassifier((8,), max_iter=100, learning_rate_init=0.02)),
    "torch": Torch(layers=(16,), epochs=15, learning_rate=0.03, batch_rows=64),
    "keras": Keras(layers=(16,), epochs=15, learning_rate=0.03, batch_rows=64),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "keras" else []) for name in TRAINERS]
)
@pytest.mark.filterwarnings("ignore")  # of iterations that do not converge
def test_every_trainer_learns_them_and_its_graph_is_equal(name, tmp_path):
    made = fit_model(model(TRAINERS[name]), FEATURES, PARTS)
    assert made.format == "onnx", made.export
    assert made.classes == NAMES
    (tmp_path / "model.onnx").write_bytes(made.files["model.onnx"])
    servable = open_servable("onnx", tmp_path, made.signature)
    scores = servable.run(made.signature.tensors(PARTS["test"]))["probabilities"]
    assert scores.shape == (150, 3)
    assert roc_auc_score(PARTS["test"].select(NAMES).to_numpy(), scores, average=None).min() > 0.9


def test_trees_of_several_labels_are_read_without_their_library():
    declared = model(XGBoost(trees=10, depth=3))
    prepared = prepare(declared, FEATURES, PARTS)
    fitted = declared.trainer.fit(prepared.train, prepared.validation, prepared.task)
    forest = read_forest(fitted.learned)
    assert forest is not None
    rows = prepared.validation.features
    np.testing.assert_allclose(forest.answers(forest.margins(rows)), fitted.predict(rows), atol=1e-6)


def test_labels_are_lists_or_columns_and_wrong_ones_are_named():
    listed, named = (prepare(model(Linear(), column), FEATURES, PARTS).train.labels for column in ("tags", NAMES))
    np.testing.assert_array_equal(listed, named)
    with pytest.raises(ColumnTypeMismatch, match="lists of texts"):
        prepare(model(Linear(), "big"), FEATURES, PARTS)
    new = pl.Series([["big", "new"]] * 150, dtype=pl.List(pl.String))
    with pytest.raises(TrainingError, match="classes that the train part does not have: new"):
        prepare(model(Linear()), FEATURES, {**PARTS, "validation": PARTS["validation"].with_columns(tags=new)})
    always = {**PARTS, "train": PARTS["train"].with_columns(rare=pl.lit(False))}
    with pytest.raises(TrainingError, match="the label 'rare' is false in every row of the train part"):
        prepare(model(Linear(), NAMES), FEATURES, always)


def test_queries_of_one_item_are_no_ranking():
    label = Label("rows", "relevance", "at", kind="ranking", group="search")
    rows = pl.DataFrame({"search": ["b", "a", "b"]})
    assert queries(label, rows, "rows").tolist() == [2, 1, 2]
    with pytest.raises(TrainingError, match="has one row, which is no order"):
        queries(label, rows.head(2), "rows")
    with pytest.raises(TrainingError, match="1 rows of rows name no query"):
        queries(label, pl.DataFrame({"search": ["a", "a", None]}), "rows")
