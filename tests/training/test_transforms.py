"""Transforms against scikit-learn, pandas and loops, on rows that they were fitted on and on others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.utils import murmurhash3_32

from carrara.core.errors import ColumnTypeMismatch, DefinitionError, NotFoundError, TrainingError
from carrara.training.inputs import Inputs, fit_inputs
from carrara.training.transforms.hashes import Hash
from carrara.training.transforms.numbers import Bucketise, Clip, Impute, Log, Standardise
from carrara.training.transforms.texts import Cross, NGrams, OneHot, Vocabulary

RANDOM = np.random.default_rng(3)
ROWS = 500
TRAIN = pl.DataFrame(
    {
        "x": np.where(RANDOM.random(ROWS) < 0.1, np.nan, RANDOM.normal(5, 20, ROWS)),
        "y": RANDOM.integers(-3, 4, ROWS),
        "flag": RANDOM.random(ROWS) < 0.5,
        "colour": [[None, "red", "red", "green", "blue"][n] for n in RANDOM.integers(0, 5, ROWS)],
        "shape": [["round", "square"][n] for n in RANDOM.integers(0, 2, ROWS)],
        "text": [" ".join(RANDOM.choice(["A", "cat", "sat", "the"], RANDOM.integers(0, 6))) for _ in range(ROWS)],
    },
    strict=False,
).with_columns(pl.col("x").fill_nan(None))
OTHER = pl.DataFrame(
    {
        "x": [None, -1000.0, 0.0, 1000.0],
        "y": [9, None, -9, 0],
        "flag": [None, True, False, True],
        "colour": ["violet", "red", None, ""],
        "shape": ["square", "star", None, "round"],
        "text": ["The CAT sat", "", None, "dog the dog"],
    },
    schema=TRAIN.schema,
)
X = TRAIN["x"].to_numpy()


def fitted(features: tuple[str, ...], *transforms) -> Inputs:
    return fit_inputs(features, transforms, TRAIN)


def columns(inputs: Inputs, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    return dict(zip(inputs.names, inputs.matrix(rows).T, strict=True))


def test_every_column_is_not_the_block_that_another_transform_made():
    inputs = fitted(("x", "colour"), OneHot("*"), Impute("*", indicator=True), Standardise("*"))
    made = columns(inputs, TRAIN)
    assert len(made) == inputs.matrix(TRAIN).shape[1]
    np.testing.assert_array_equal(made["colour=red"], TRAIN["colour"].eq_missing("red").to_numpy())
    assert "x is missing" in made
    assert not [name for name in made if name.startswith("colour") and "missing" in name]


def test_without_transforms_the_matrix_is_the_features():
    inputs = fitted(("x", "y", "flag"))
    assert inputs.graph is None
    np.testing.assert_array_equal(
        inputs.matrix(OTHER), np.array([[np.nan, 9, np.nan], [-1000, np.nan, 1], [0, -9, 0], [1000, 0, 1]], np.float32)
    )


def test_impute_fills_with_what_the_training_rows_have():
    inputs = fitted(("x", "y"), Impute("x", "mean", indicator=True))
    assert inputs.names == ("y", "x", "x is missing")
    found = columns(inputs, OTHER)
    np.testing.assert_allclose(found["x"], [np.nanmean(X), -1000, 0, 1000], rtol=1e-6)
    assert found["x is missing"].tolist() == [1, 0, 0, 0]
    assert columns(fitted(("x",), Impute("*", "median")), OTHER)["x"][0] == pytest.approx(np.nanmedian(X), rel=1e-6)
    assert columns(fitted(("x",), Impute(value=-1.5)), OTHER)["x"][0] == -1.5


def test_standardise_is_scikit_learns_and_knows_the_training_part_only():
    found = fitted(("x", "y"), Standardise()).matrix(TRAIN)
    judged = StandardScaler().fit_transform(TRAIN.select(pl.col("x", "y").cast(pl.Float64)).to_numpy())
    np.testing.assert_allclose(found, judged, atol=1e-5)
    assert columns(fitted(("x",), Standardise()), OTHER)["x"][1] == pytest.approx(
        (-1000 - np.nanmean(X)) / np.nanstd(X), rel=1e-5
    )


def test_clip_and_log_keep_missing_numbers_missing():
    found = columns(fitted(("x",), Clip("x", 0.05, 0.95)), OTHER)["x"]
    low, high = np.nanquantile(X, (0.05, 0.95))
    np.testing.assert_allclose(found, [np.nan, low, 0, high], rtol=1e-6)
    declared = fitted(("x",), Clip("x", -1, None, quantiles=False))
    np.testing.assert_allclose(columns(declared, OTHER)["x"], [np.nan, -1, 0, 1000])
    np.testing.assert_allclose(
        columns(fitted(("x",), Log("x")), OTHER)["x"], [np.nan, -np.log(1001), 0, np.log(1001)], rtol=1e-6
    )


def test_buckets_hold_about_as_many_rows_each_and_missing_ones_have_their_own():
    inputs = fitted(("x",), Bucketise("x", 5))
    known = TRAIN["x"].is_not_null().to_numpy()
    judge = KBinsDiscretizer(5, encode="ordinal", strategy="quantile", quantile_method="linear").fit(X[known][:, None])
    np.testing.assert_array_equal(inputs.matrix(TRAIN)[known, 0], judge.transform(X[known][:, None])[:, 0])
    assert inputs.matrix(OTHER)[:, 0].tolist() == [5, 0, judge.transform([[0.0]])[0, 0], 4]
    assert inputs.categories == {"x": 6}
    declared = fitted(("y",), Bucketise("y", boundaries=(0, 2)))
    assert declared.matrix(pl.DataFrame({"y": [-1, 0, 1, 2, None]}))[:, 0].tolist() == [0, 1, 1, 2, 3]


def test_a_vocabulary_goes_by_frequency_and_others_share_a_place():
    inputs = fitted(("colour",), Vocabulary("colour", most=2))
    counts = Counter(TRAIN["colour"].drop_nulls().to_list())
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:2]
    places = {None: 0, "": 0, **{word: place for place, word in enumerate(ranked, 1)}}
    for rows in (TRAIN, OTHER):
        assert inputs.matrix(rows)[:, 0].tolist() == [places.get(word, 3) for word in rows["colour"].to_list()]
    assert (inputs.categories, inputs.learned[0]["learned"]["colour"]) == ({"colour": 4}, ranked)


def test_one_hot_is_that_of_pandas_and_unknown_texts_are_others():
    found = columns(fitted(("colour", "y"), OneHot("colour")), TRAIN)
    judged = pd.get_dummies(TRAIN["colour"].to_pandas())
    for colour in judged:
        np.testing.assert_array_equal(found[f"colour={colour}"], judged[colour])
    other = columns(fitted(("colour",), OneHot()), OTHER)
    assert other["colour=(other)"].tolist() == [1, 0, 0, 0]
    assert sum(other.values()).tolist() == [1, 1, 0, 0]


def test_crosses_are_of_texts_and_of_places():
    texts = fitted(("colour", "shape"), Cross(("colour", "shape")), OneHot("colour × shape"))
    assert columns(texts, OTHER)["colour × shape=(other)"].tolist() == [1, 1, 1, 0]
    assert columns(texts, TRAIN)["colour × shape=red × round"].sum() == (
        TRAIN.filter(pl.col("colour") == "red", pl.col("shape") == "round").height
    )
    assert texts.importance({name: 1 / len(texts.names) for name in texts.names}) == pytest.approx(
        {"colour": 0.5, "shape": 0.5}
    )
    buckets = (Bucketise("x", 3), Bucketise("y", boundaries=(0,)))
    places = fitted(("x", "y"), *buckets, Cross(("x", "y")), OneHot(("x × y",)))
    found = columns(places, TRAIN)
    np.testing.assert_array_equal(found["x × y=4"], (found["x"] == 1) & (found["y"] == 1))


@pytest.mark.parametrize("words", [1, 2, 3])
def test_n_grams_are_counted_as_scikit_learn_counts_them(words):
    inputs = fitted(("text",), NGrams("text", words=words, least=1))
    texts = [text or "" for text in TRAIN["text"].to_list()]
    judge = CountVectorizer(ngram_range=(1, words), token_pattern=r"\S+").fit(texts)
    for rows in (TRAIN, OTHER):
        counted = judge.transform([text or "" for text in rows["text"].to_list()]).toarray()
        found = columns(inputs, rows)
        assert set(found) == {f"text: {gram}" for gram in judge.vocabulary_}
        for gram, place in judge.vocabulary_.items():
            np.testing.assert_array_equal(found[f"text: {gram}"], counted[:, place])


def test_n_grams_of_rows_that_are_all_empty_are_none():
    inputs = fitted(("text",), NGrams("text", words=2))
    assert inputs.matrix(pl.DataFrame({"text": ["", None]})).sum() == 0


def test_transforms_go_on_with_what_those_before_them_made():
    found = columns(fitted(("x", "y"), Impute(), Log("x"), Standardise("x")), TRAIN)
    filled = np.where(np.isnan(X), np.nanmedian(X), X)
    logs = np.sign(filled) * np.log1p(np.abs(filled))
    np.testing.assert_allclose(found["x"], (logs - logs.mean()) / logs.std(), atol=1e-4)


@pytest.mark.parametrize(
    ("features", "transforms", "error", "message"),
    [
        (("colour",), (), TrainingError, r"(?s)colour: texts, which no transform makes numbers of.*OneHot"),
        (("colour", "x"), (Impute(),), TrainingError, "colour: texts"),
        (("x",), (Standardise("z"),), NotFoundError, r"no feature 'z' \(asked by the transform Standardise"),
        (("colour",), (Log("colour"),), TrainingError, "Log takes numbers, and 'colour' is a text"),
        (("x",), (OneHot("x"),), TrainingError, "OneHot takes texts, and 'x' is a number"),
        (("x", "y"), (Cross(("x", "y")),), TrainingError, "Cross takes two texts"),
        (("nothing",), (), TrainingError, "'nothing' is missing in every training row"),
        (("when",), (), ColumnTypeMismatch, "when"),
    ],
)
def test_what_cannot_be_done_is_said(features, transforms, error, message):
    rows = TRAIN.with_columns(nothing=pl.lit(None, pl.Float64), when=pl.datetime(2024, 1, 1, time_zone="UTC"))
    with pytest.raises(error, match=message):
        fit_inputs(features, transforms, rows)


def test_texts_and_whole_numbers_are_hashed_as_scikit_learn_does_and_missing_ones_are_apart():
    texts = ["", None, "a", "München", "Österreich", "日本", "a b", "x" * 1_000, "😀"]
    numbers = [None, 0, 1, -1, 2**24, 5, -7, 1_000, 3]
    table = pl.DataFrame({"who": texts, "number": numbers}, schema={"who": pl.String, "number": pl.Int64})
    inputs = fit_inputs(("who", "number"), (Hash("who", buckets=50, seed=3), Hash("number", buckets=7)), table)
    made = columns(inputs, table)
    judge = [1 + murmurhash3_32(text.encode(), 3, positive=True) % 50 if text else 0 for text in texts]
    assert made["who"].tolist() == judge
    eight = [None if one is None else np.int64(one).tobytes() for one in numbers]
    assert made["number"].tolist() == [0 if b is None else 1 + murmurhash3_32(b, 0, positive=True) % 7 for b in eight]
    assert inputs.categories == {"who": 51, "number": 8}
    assert columns(inputs, table.head(0))["who"].tolist() == []


def test_a_hash_is_declared_with_buckets_and_crossed_like_a_vocabulary():
    with pytest.raises(DefinitionError, match="makes no difference"):
        Hash("colour", buckets=1)
    made = columns(fitted(("colour", "shape"), Hash(("colour", "shape"), buckets=10), OneHot("*")), TRAIN)
    assert set(made) == {"colour", "shape"}
