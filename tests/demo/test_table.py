"""A workspace that is made of one table trains, and serves what its requests tell."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_iris

from carrara.core.definitions import load_recorded_definitions
from carrara.core.errors import ColumnMissing, ColumnTypeMismatch, DataError, NotFoundError
from carrara.demo.table import TRAINERS, Table, definitions_of
from carrara.demo.template import write_workspace
from carrara.workspace.workspace import Workspace

RANDOM = np.random.default_rng(5)
ROWS = 400
AMOUNT = RANDOM.normal(size=ROWS)
PLAN = np.array(["basic", "plus", "pro"])[RANDOM.integers(0, 3, ROWS)]
SHOP = pl.DataFrame(
    {
        "2nd amount (€)": AMOUNT,
        "plan": PLAN,
        "class": RANDOM.integers(0, 5, ROWS),
        "id": [f"c-{n}" for n in range(ROWS)],
        "empty": pl.Series([None] * ROWS, dtype=pl.String),
        "seen": [f"2024-01-{1 + n * 30 // ROWS:02}" for n in range(ROWS)],
        "left": np.where(AMOUNT + 2 * (PLAN == "pro") + RANDOM.normal(0, 0.1, ROWS) > 0, "yes", "no"),
    }
)


def defined(table: Table, trainer: str = "xgboost"):
    loaded = load_recorded_definitions({"definitions.py": definitions_of(table, trainer)}, "a test")
    (model,) = loaded.of_kind("model").values()
    return model


@pytest.mark.parametrize("trainer", ["linear", "lightgbm"])
def test_a_model_of_a_table_is_trained_and_asked_by_the_table_s_columns(tmp_path, trainer):
    SHOP.write_csv(tmp_path / "shop.csv")
    table = Table(str(tmp_path / "shop.csv"), SHOP, "left", "seen")
    write_workspace(tmp_path / "shop", {"definitions.py": definitions_of(table, trainer)})
    with Workspace(tmp_path / "shop") as ws:
        trained = ws.train("left")
        assert trained.version.metrics["roc_auc"] > 0.95
        ws.deploy("left@1")
        asked = {"x2nd_amount": -1.0, "class_": 2}
        found = ws.predict("left", entities=[{**asked, "plan": plan} for plan in ("pro", "basic", None)])
    chances = found.rows["probability"]
    assert chances[0] > 0.5 > chances[1]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_s_definitions_load(trainer):
    model = defined(Table("shop.csv", SHOP, "left", "seen"), trainer)
    assert (model.trainer.name, model.label.kind) == (trainer, "binary")
    assert (model.split.validation_from, model.split.test_from) == ("2024-01-22T00:00:00Z", "2024-01-26T00:00:00Z")


def test_columns_that_tell_nothing_are_left_out_and_named():
    text = definitions_of(Table("shop.csv", SHOP, "left", "seen"), "xgboost")
    assert "# Left out: id, 400 different texts in 400 rows." in text
    assert "# Left out: empty, without a value." in text


KINDS = {"left": "binary", "plan": "multiclass", "class": "multiclass", "2nd amount (€)": "regression"}


@pytest.mark.parametrize(("label", "kind"), KINDS.items())
def test_the_kind_follows_from_the_label(label, kind):
    assert defined(Table("shop.csv", SHOP, label)).label.kind == kind


def test_real_tables_split_without_a_time():
    iris = pl.from_pandas(load_iris(as_frame=True).frame)
    diabetes = pl.from_pandas(load_diabetes(as_frame=True).frame)
    assert defined(Table("iris.csv", iris, "target")).split.by == "target"
    assert type(defined(Table("diabetes.csv", diabetes, "target")).split).__name__ == "HashSplit"


@pytest.mark.parametrize(
    ("label", "time", "trainer", "error", "said"),
    [
        ("lfet", None, "xgboost", ColumnMissing, "left"),
        ("left", "sene", "xgboost", ColumnMissing, "seen"),
        ("left", "plan", "xgboost", ColumnTypeMismatch, "a time"),
        ("left", "class", "xgboost", ColumnTypeMismatch, "a time"),
        ("left", None, "xgbost", NotFoundError, "xgboost"),
        ("id", None, "xgboost", DataError, "400 different texts"),
        ("empty", None, "xgboost", DataError, "nothing to predict"),
    ],
)
def test_what_cannot_be_is_said(label, time, trainer, error, said):
    with pytest.raises(error, match=said):
        definitions_of(Table("shop.csv", SHOP, label, time), trainer)
