"""Every trainer on every kind of label: what is kept is equal to the trainer's own object, and learns what there is."""

from __future__ import annotations

import importlib
import resource
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import sklearn.ensemble as ensemble
from sklearn.linear_model import LinearRegression, Perceptron
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from carrara.core.errors import DefinitionError, StorageError, TrainingError
from carrara.data import rows
from carrara.data.splits import TimeSplit
from carrara.models.runtimes.base import open_servable
from carrara.training import inputs
from carrara.training.analyzers import analyze
from carrara.training.fit import FittedModel, fit_model, fit_prepared, prepare
from carrara.training.model import Label, Model
from carrara.training.trainers import xgboost_data
from carrara.training.trainers.base import Fitted
from carrara.training.trainers.forest_graph import forest_graph
from carrara.training.trainers.function import trainer
from carrara.training.trainers.lightgbm import LightGBM
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.sklearn import Sklearn
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.xgboost import XGBoost
from carrara.training.transforms.numbers import Impute, Standardise
from carrara.training.transforms.texts import OneHot

RANDOM = np.random.default_rng(0)
ROWS = 3_000
START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES_OF = ("v:a", "v:b", "v:c", "v:colour")
A, B, C = RANDOM.normal(size=ROWS), RANDOM.normal(size=ROWS), RANDOM.integers(0, 9, ROWS)
COLOUR = RANDOM.choice(["red", "green", "blue"], ROWS)
SIGNAL = 2 * A - B + 1.5 * (COLOUR == "red") + RANDOM.normal(0, 0.5, ROWS)
TABLE = pl.DataFrame(
    {
        "at": [START + timedelta(minutes=n) for n in range(ROWS)],
        "v:a": np.where(RANDOM.random(ROWS) < 0.05, np.nan, A),
        "v:b": B,
        "v:c": C,
        "v:colour": COLOUR,
        "binary": SIGNAL > 0.5,
        "regression": SIGNAL * 100 + 1_000,
        "multiclass": np.array(["low", "middle", "high"])[np.digitize(SIGNAL, (-1, 1))],
        "weight": RANDOM.uniform(0.5, 2, ROWS),
    }
).with_columns(pl.col("v:a").fill_nan(None))
PARTS = {"train": TABLE[:2_000], "validation": TABLE[2_000:2_500], "test": TABLE[2_500:]}
KINDS = ("binary", "multiclass", "regression")


def model(kind: str, trainer, *, features=FEATURES_OF, transforms=None, weight=None) -> Model:
    transforms = (Impute(), Standardise(), OneHot()) if transforms is None else transforms
    label = Label("rows", kind, "at", kind=kind)
    split = TimeSplit(validation_from="2024-01-02", test_from="2024-01-03")
    return Model("m", features, label, split, trainer, transforms=transforms, weight=weight)


def fit(kind: str, trainer, **more) -> FittedModel:
    made = model(kind, trainer, **more)
    return fit_model(made, made.features, PARTS)


def scores(made: FittedModel, folder: Path, rows: pl.DataFrame = PARTS["test"]) -> np.ndarray:
    """What the artifact, opened by its runtime, says of raw features."""
    for name, data in made.files.items():
        (folder / name).write_bytes(data)
    servable = open_servable(made.format, folder, made.signature)
    servable.warm_up()
    columns = {s.name: rows[s.name].to_numpy() for s in made.signature.inputs}
    return servable.run(columns)[made.signature.outputs[0].name]


def quality(kind: str, found: np.ndarray, made: FittedModel) -> float:
    truth = PARTS["test"][kind].to_numpy()
    if kind == "binary":
        return roc_auc_score(truth, found)
    if kind == "regression":
        return r2_score(truth, found)
    return accuracy_score(truth, np.array(made.classes)[found.argmax(axis=1)])


TRAINERS = {
    "xgboost": XGBoost(trees=150, depth=3),
    "lightgbm": LightGBM(trees=150, leaves=7),
    "linear": Linear(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRAINERS)
def test_the_artifact_is_equal_to_the_trainer_and_learns_what_there_is(tmp_path, name, kind):
    made = fit(kind, TRAINERS[name])
    assert made.export["rows"] >= 500
    assert (made.format, made.export["equal"]) == ("onnx", True)
    assert {s.name: s.dtype for s in made.signature.inputs}["v:colour"] == "string"
    found = scores(made, tmp_path)
    assert found.shape == ((500, 3) if kind == "multiclass" else (500,))
    assert quality(kind, found, made) > {"binary": 0.95, "multiclass": 0.8, "regression": 0.9}[kind]
    assert sum(made.importance.values()) == pytest.approx(1)
    assert max(made.importance, key=made.importance.__getitem__) == "v:a"
    assert made.importance["v:c"] < made.importance["v:b"]
    assert msgspec.json.decode(made.learned["transforms.json"])[0]["transform"] == "Impute"


@pytest.mark.parametrize("name", TRAINERS)
def test_equal_inputs_make_equal_artifacts(name):
    assert fit("binary", TRAINERS[name]).files == fit("binary", TRAINERS[name]).files


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_trees_take_missing_numbers_and_are_proved_at_their_thresholds(tmp_path, name):
    made = fit("binary", TRAINERS[name], features=("v:a", "v:b", "v:c"), transforms=())
    assert made.export["rows"] > 600  # the validation part, and both sides of each split
    assert len(made.curve["validation"]) == made.summary["trees_tried"] >= made.summary["trees"]
    assert quality("binary", scores(made, tmp_path), made) > 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_a_graph_that_differs_is_not_kept(tmp_path, name, kind, monkeypatch):
    expected = fit(kind, TRAINERS[name])
    module = importlib.import_module(f"carrara.training.trainers.{name}")

    def wrong(forest, *more):
        return forest_graph(replace(forest, base=forest.base + 0.1 * np.arange(1, len(forest.base) + 1)), *more)

    monkeypatch.setattr(module, "forest_graph", wrong)
    made = fit(kind, TRAINERS[name])
    assert (made.format, made.export["equal"]) == (name, False)
    (tmp_path / "native").mkdir()
    (tmp_path / "graph").mkdir()
    assert "transforms.onnx" in made.files
    found = scores(made, tmp_path / "native"), scores(expected, tmp_path / "graph")
    np.testing.assert_allclose(*found, rtol=2e-5, atol=2e-5)


def test_weights_count():
    heavy = {
        name: part.with_columns(weight=pl.when("binary").then(50.0).otherwise(1.0)) for name, part in PARTS.items()
    }
    for one in TRAINERS.values():
        made = model("binary", one, weight="weight")
        even, uneven = (fit_model(made, made.features, parts) for parts in (PARTS, heavy))
        assert even.files != uneven.files
    with pytest.raises(TrainingError, match=r"weights in 'weight'.*at least 0"):
        fit_model(made, made.features, {n: part.with_columns(weight=-1.0) for n, part in PARTS.items()})


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        ("binary", ensemble.RandomForestClassifier(20, max_depth=6)),
        ("multiclass", make_pipeline(StandardScaler(), ensemble.GradientBoostingClassifier(n_estimators=20))),
        ("multiclass", GaussianNB()),
        ("regression", LinearRegression()),
        ("regression", ensemble.ExtraTreesRegressor(5, max_depth=8)),
    ],
)
def test_estimators_of_scikit_learn_become_graphs(tmp_path, kind, estimator):
    made = fit(kind, Sklearn(estimator))
    assert made.format == "onnx"
    assert quality(kind, scores(made, tmp_path), made) > 0.6
    assert fit(kind, Sklearn(estimator)).files == made.files
    learned = msgspec.json.decode(made.learned["learned.json"])
    assert learned["class"] == type(estimator).__name__


def test_what_scikit_learn_cannot_do_is_said():
    with pytest.raises(TrainingError, match=r"(?s)LinearRegression refused the training set.*NaN.*Impute"):
        fit("regression", Sklearn(LinearRegression()), features=("v:a",), transforms=())
    with pytest.raises(TrainingError, match="Perceptron gives no probabilities"):
        fit("binary", Sklearn(Perceptron()))
    with pytest.raises(DefinitionError, match="is no estimator"):
        Sklearn("forest")


def test_a_trainer_of_ones_own_returns_an_estimator_a_graph_or_a_fitted(tmp_path):
    @trainer
    def forest(train, validation, task, trees=5):
        return ensemble.RandomForestClassifier(trees, random_state=task.seed).fit(train.features, train.labels)

    @trainer
    def copied(train, validation, task):
        made = Linear().fit(train, validation, task)
        return made.to_onnx()

    @trainer
    def wrong(train, validation, task):
        return {"not": "a model"}

    @trainer
    def broken(train, validation, task):
        raise ZeroDivisionError("by mistake")

    assert quality("binary", scores(fit("binary", forest(trees=30)), tmp_path), None) > 0.9
    assert forest(trees=30).spec() != forest.spec()
    made = fit("binary", copied)
    assert quality("binary", scores(made, tmp_path), made) > 0.9
    with pytest.raises(TrainingError, match=r"(?s)'wrong' returned dict.*Return a Fitted"):
        fit("binary", wrong)
    with pytest.raises(TrainingError, match="'broken' failed: ZeroDivisionError: by mistake"):
        fit("binary", broken)


def test_a_model_without_a_graph_and_without_a_safe_form_is_refused():
    @trainer
    def pickled(train, validation, task):
        def no_graph() -> bytes:
            raise NotImplementedError("there is no converter")

        return Fitted(lambda rows: np.zeros(len(rows)), no_graph, {}, dict.fromkeys(task.names, 0.0), ())

    with pytest.raises(TrainingError, match=r"no equal form in ONNX \(NotImplementedError: there is no converter\)"):
        fit("binary", pickled)


def test_what_cannot_be_learned_is_said():
    def parts(**columns) -> dict[str, pl.DataFrame]:
        return {name: part.with_columns(**columns) for name, part in PARTS.items()}

    binary, several = model("binary", XGBoost()), model("multiclass", XGBoost())
    with pytest.raises(TrainingError, match="every label in the train part of 'm' is True"):
        fit_model(binary, FEATURES_OF, parts(binary=pl.lit(True)))
    with pytest.raises(TrainingError, match="only the class low"):
        fit_model(several, FEATURES_OF, parts(multiclass=pl.lit("low")))
    unseen = {**PARTS, "validation": PARTS["validation"].with_columns(multiclass=pl.lit("extreme"))}
    with pytest.raises(TrainingError, match=r"(?s)validation part.*classes that the train part does not have: extreme"):
        fit_model(several, FEATURES_OF, unseen)
    with pytest.raises(TrainingError, match=r"labels in 'regression' .* NaN or infinite"):
        fit_model(model("regression", XGBoost()), FEATURES_OF, parts(regression=pl.lit(float("inf"))))
    with pytest.raises(TrainingError, match="linear model takes no missing numbers, and there are some in: v:a"):
        fit("binary", Linear(), features=("v:a",), transforms=())
    with pytest.raises(TrainingError, match="the feature 'v:c' is the label itself"):
        fit_model(
            model("binary", XGBoost(), features=("v:c",), transforms=()), ("v:c",), parts(**{"v:c": pl.col("binary")})
        )


def test_a_feature_that_tells_the_label_almost_alone_is_flagged():
    leaking = {name: part.with_columns((pl.col("regression") / 7).alias("v:c")) for name, part in PARTS.items()}
    for kind, threshold in (("binary", True), ("regression", True)):
        made = fit_model(model(kind, XGBoost(trees=5)), FEATURES_OF, leaking)
        assert [warning.partition(" tells")[0] for warning in made.warnings] == ["'v:c'"] * threshold
    assert fit("binary", XGBoost(trees=5)).warnings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_in_a_file_trains_the_model_of_one_in_memory(kind, tmp_path, monkeypatch):
    in_memory = fit(kind, Torch(epochs=2))
    # Room for the features, so that transforms learn from every row, and not for their matrix.
    monkeypatch.setattr(inputs, "MOST_IN_MEMORY", PARTS["train"].height * len(FEATURES_OF) + 1)
    monkeypatch.setattr(rows, "BATCH_ROWS", 300)
    asked = model(kind, Torch(epochs=2))
    prepared = prepare(asked, asked.features, PARTS, folder=tmp_path)
    assert isinstance(prepared.train.features.base, np.memmap)
    assert not list(tmp_path.iterdir()), "the file has no name, so that it ends with the process"
    assert fit_prepared(asked, prepared).files == in_memory.files


@pytest.mark.parametrize("kind", KINDS)
def test_xgboost_learns_from_files_what_it_learns_in_memory(kind, tmp_path, monkeypatch):
    in_memory = fit(kind, XGBoost(trees=20), weight="weight")
    monkeypatch.setattr(xgboost_data, "MOST_IN_MEMORY", 1)
    monkeypatch.setattr(xgboost_data, "_BATCH_ROWS", 1_000)
    from_files = fit(kind, XGBoost(trees=20), weight="weight")
    (tmp_path / "one").mkdir(), (tmp_path / "other").mkdir()
    one, other = scores(in_memory, tmp_path / "one"), scores(from_files, tmp_path / "other")
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99


def test_a_matrix_without_room_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_IN_MEMORY", 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        asked = model("binary", Linear())
        with pytest.raises(StorageError, match=r"no room in .* for a matrix of 2,000"):
            prepare(asked, asked.features, PARTS, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_transforms_of_a_part_larger_than_memory_learn_from_all_of_it(monkeypatch):
    judge = fit("binary", Linear())
    monkeypatch.setattr(analyze, "MOST_IN_MEMORY", 1)
    made = fit("binary", Linear())
    assert made.learned["transforms.json"] == judge.learned["transforms.json"]
    rows = PARTS["train"].height
    assert {one["rows"] for one in msgspec.json.decode(made.learned["transforms.json"])} == {rows}
