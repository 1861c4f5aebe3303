"""Class weights: the same for every trainer, as weights of rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from carrara.core.errors import DefinitionError, NotFoundError
from carrara.data.splits import TimeSplit
from carrara.training.fit import prepare
from carrara.training.model import Label, Model
from carrara.training.trainers.lightgbm import LightGBM
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.sklearn import Sklearn
from carrara.training.trainers.xgboost import XGBoost

ROWS = 2_000
RANDOM = np.random.default_rng(9)
X = RANDOM.normal(size=ROWS)
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(ROWS)],
        "v:x": X,
        "rare": X + RANDOM.normal(0, 1, ROWS) > 2.2,
        "grade": np.array(["a", "b", "c"])[np.digitize(X + RANDOM.normal(0, 1, ROWS), (1, 2))],
        "w": RANDOM.uniform(0.5, 2, ROWS),
    }
)
SPLIT = TimeSplit("2024-01-02", "2024-01-02T06:00:00Z")
PARTS = SPLIT.split(TABLE, time="at", known_at=None)


def model(trainer, column="rare", **options) -> Model:
    kind = "binary" if column == "rare" else "multiclass"
    return Model("m", ("v:x",), Label("d", column, "at", kind=kind), SPLIT, trainer, **options)


def test_balanced_weights_are_those_of_scikit_learn_and_come_on_top_of_the_rows():
    train = PARTS["train"]
    for column in ("rare", "grade"):
        labels = train[column].to_numpy()
        classes = np.unique(labels)
        judge = dict(zip(classes, compute_class_weight("balanced", classes=classes, y=labels), strict=True))
        found = prepare(model(XGBoost(), column, class_weights="balanced"), ("v:x",), PARTS).train.weights
        np.testing.assert_allclose(found, [judge[label] for label in labels], rtol=1e-5)
    both = prepare(model(XGBoost(), weight="w", class_weights={True: 3}), ("v:x",), PARTS).train.weights
    np.testing.assert_allclose(both, train["w"].to_numpy() * np.where(train["rare"], 3, 1), rtol=1e-6)


@pytest.mark.parametrize(
    "trainer",
    [
        XGBoost(trees=20, depth=2),
        LightGBM(trees=20, leaves=4),
        Linear(),
        Sklearn(LogisticRegression()),
        Sklearn(make_pipeline(StandardScaler(), LogisticRegression())),
    ],
    ids=["xgboost", "lightgbm", "linear", "sklearn", "pipeline"],
)
def test_every_trainer_takes_them(trainer):
    means = []
    for weights in (None, "balanced"):
        prepared = prepare(model(trainer, class_weights=weights), ("v:x",), PARTS)
        fitted = trainer.fit(prepared.train, prepared.validation, prepared.task)
        means.append(float(fitted.predict(prepared.validation.features).mean()))
    assert means[0] < 0.15
    assert means[1] > 0.25


def test_weights_of_what_is_no_class_are_refused():
    with pytest.raises(NotFoundError, match=r"(?s)no class 'd'.*class_weights"):
        prepare(model(XGBoost(), "grade", class_weights={"d": 2}), ("v:x",), PARTS)
    for wrong in ({True: 0}, "even"):
        with pytest.raises(DefinitionError, match="class weights of model 'm' are"):
            model(XGBoost(), class_weights=wrong)
    with pytest.raises(DefinitionError, match="its label is a regression one"):
        Model("m", ("v:x",), Label("d", "w", "at", kind="regression"), SPLIT, XGBoost(), class_weights="balanced")
