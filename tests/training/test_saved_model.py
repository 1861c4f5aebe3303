"""A Keras net as a SavedModel: features and `tf.Example`s by named signatures, the transforms inside, equal bytes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from real_stubs import content
from servers import served
from test_real_stubs import SPEC, floats
from test_trainers import FEATURES_OF, PARTS, fit, scores

from carrara.core.errors import NotFoundError, TrainingError
from carrara.models.runtimes.base import open_folder
from carrara.models.runtimes.onnx import session
from carrara.models.signature import CLASSIFY, PREDICT, REGRESS
from carrara.training.inputs import fit_inputs, tensors_of
from carrara.training.proof import said
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.tensorflow_transforms import transformed
from carrara.training.transforms.hashes import Hash
from carrara.training.transforms.numbers import Bucketise, Clip, Impute, Log, Standardise
from carrara.training.transforms.texts import Cross, NGrams, OneHot, Vocabulary
from carrara.training.transforms.tokens import Tokens
from commands import carrara

NET = Keras(epochs=2, batch_rows=256, layers=(8,), export="saved_model")
TRANSFORMS = (Impute(), Standardise(), Vocabulary())


def write(made, folder):
    for name, data in made.files.items():
        (folder / name).write_bytes(data)


def examples(tensorflow, rows: pl.DataFrame) -> np.ndarray:
    """Rows as serialized `tf.Example`s, what is missing left out."""
    train, made = tensorflow.train, np.empty(rows.height, object)
    for place, row in enumerate(rows.iter_rows(named=True)):
        found = {}
        for name, value in row.items():
            if isinstance(value, str):
                found[name] = train.Feature(bytes_list=train.BytesList(value=[value.encode()]))
            elif value is not None:
                found[name] = train.Feature(float_list=train.FloatList(value=[value]))
        made[place] = train.Example(features=train.Features(feature=found)).SerializeToString()
    return made


@pytest.mark.parametrize(
    "kind", ["binary", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("multiclass", "regression"))]
)
def test_features_and_examples_are_answered_alike_by_every_signature(tmp_path, kind):
    tensorflow = pytest.importorskip("tensorflow")
    made = fit(kind, NET, transforms=TRANSFORMS)
    assert (made.format, list(made.files), made.export["equal"]) == ("tensorflow", ["saved_model.pb"], True)
    assert said(dict(made.export)).startswith("SavedModel equal to the trainer on ")

    expected = scores(made, tmp_path)
    write(made, tmp_path)
    opened = open_folder(tmp_path)
    rows = PARTS["test"].select(FEATURES_OF)
    serialized = examples(tensorflow, rows)
    (predicted,) = opened["predict"].run({"examples": serialized}).values()
    np.testing.assert_array_equal(predicted, expected)
    assert opened["serving_default"].signature.inputs == tuple(
        replace(spec, dtype="bytes" if spec.dtype == "string" else spec.dtype, tensor=f"input_{place}:0")
        for place, spec in sorted(enumerate(made.signature.inputs), key=lambda one: one[1].name)
    )
    methods = {name: servable.signature.method for name, servable in opened.items()}
    asked = {"classify": CLASSIFY} if kind != "regression" else {}
    asked |= {"regress": REGRESS} if kind != "multiclass" else {}
    assert methods == {"serving_default": PREDICT, "predict": PREDICT, **asked}
    if "regress" in opened:
        np.testing.assert_array_equal(opened["regress"].run({"inputs": serialized})["outputs"], expected)
    if "classify" in opened:
        found = opened["classify"].run({"inputs": serialized})
        wanted = expected if kind == "multiclass" else np.column_stack([1 - expected, expected])
        np.testing.assert_array_equal(found["scores"], wanted)
        labels = list(made.classes) or ["0", "1"]
        assert [label.decode() for label in found["classes"][0]] == labels


@pytest.mark.slow
def test_one_seed_gives_one_saved_model():
    one, same = (fit("binary", NET, transforms=TRANSFORMS) for _ in range(2))
    assert one.files == same.files


TEXTS = pl.Series(["Late again", "late LATE plane", "", None, "the plane", " a  new\tplane ", "again late again"])
TABLE = PARTS["train"][:700].with_columns(pl.Series("v:text", TEXTS.to_list() * 100))


@pytest.mark.parametrize(
    "transforms",
    [
        (Clip("v:a"), Log("v:b"), Impute(indicator=True), Standardise("v:b"), OneHot()),
        (Impute(), Bucketise("v:a", buckets=4), Vocabulary("v:colour"), Cross(("v:a", "v:colour")), OneHot("v:text")),
        (Impute(), Cross(("v:colour", "v:text")), OneHot("*")),
        (Impute(), Vocabulary("v:colour"), NGrams("v:text", words=2, least=1)),
        (Impute(), Vocabulary("v:colour"), Tokens("v:text", length=2, least=1)),
    ],
    ids=["numbers", "places", "crossed texts", "n-grams", "tokens"],
)
def test_transforms_are_in_tensorflow_what_they_are_in_the_graph(transforms):
    tensorflow = pytest.importorskip("tensorflow")
    inputs = fit_inputs((*FEATURES_OF, "v:text"), transforms, TABLE)
    given = tensors_of(inputs.features, TABLE)
    (expected,) = session(inputs.graph).run(None, given)
    found = transformed(tensorflow, inputs.graph, {name: tensorflow.constant(one) for name, one in given.items()})
    assert expected.std() > 0
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_what_tensorflow_cannot_do_is_refused():
    with pytest.raises(TrainingError, match="MurmurHash3: TensorFlow has no equal") as refused:
        fit("binary", replace(NET, epochs=1), transforms=(Impute(), Hash("v:colour", buckets=8)))
    assert 'export="onnx"' in refused.value.hint
    with pytest.raises(NotFoundError, match="saved_model"):
        Keras(export="savedmodel")


@pytest.mark.slow
def test_a_pushed_version_answers_the_real_stubs_by_every_signature(stubs, tmp_path):
    random = np.random.default_rng(0)
    rows = pl.DataFrame({"x": random.normal(size=600), "colour": random.choice(["red", "blue"], 600)})
    rows.with_columns(label=(pl.col("x") > 0) & (pl.col("colour") == "red")).write_csv(tmp_path / "rows.csv")
    workspace = tmp_path / "test"
    assert carrara("init", workspace, "--data", tmp_path / "rows.csv", "--label", "label").returncode == 0
    definitions = workspace / "definitions.py"
    text = definitions.read_text()
    trainer = 'carrara.Keras(layers=(8,), epochs=2, export="saved_model"), transforms=(carrara.OneHot(),)'
    definitions.write_text(f"{text[: text.index('trainer=')]}trainer={trainer},\n)\n", "utf-8")
    trained = carrara("train", "label", "--workspace", workspace)
    assert "SavedModel equal to the trainer on" in trained.stdout, trained.stderr
    pushed = carrara("model", "push", "label", tmp_path / "base", "--warm-up", "3", "--workspace", workspace)
    assert pushed.returncode == 0, pushed.stderr

    asked = [{"x": 1.5, "colour": "red"}, {"x": -1.0, "colour": "blue"}]
    given = [{"fields:x": one["x"], "fields:colour": one["colour"]} for one in asked]
    reproduced = carrara("model", "reproduce", "label", "--workspace", workspace, "--json")
    assert json.loads(reproduced.stdout)["equal"], reproduced.stdout
    features = [
        {
            "features": {
                "feature": {
                    "fields:x": {"float_list": {"value": [one["fields:x"]]}},
                    "fields:colour": {"bytes_list": {"value": [encoded(one["fields:colour"])]}},
                }
            }
        }
        for one in given
    ]
    rows_of = {"example_list": {"examples": features}}
    texts = {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": 2}]},
        "string_val": [encoded(one["fields:colour"]) for one in given],
    }
    named = {"fields:x": floats(*(one["fields:x"] for one in given)), "fields:colour": texts}
    serialized = {
        **texts,
        "string_val": [encoded(one) for one in examples(pytest.importorskip("tensorflow"), pl.DataFrame(given))],
    }
    calls = (
        ("Predict", {"model_spec": SPEC, "inputs": named}),
        ("Predict", {"model_spec": {**SPEC, "signature_name": "predict"}, "inputs": {"examples": serialized}}),
        ("Classify", {"model_spec": {**SPEC, "signature_name": "classify"}, "input": rows_of}),
        ("Regress", {"model_spec": {**SPEC, "signature_name": "regress"}, "input": rows_of}),
    )
    with served("--model_name=test", f"--model_base_path={tmp_path / 'base'}", cwd=tmp_path) as server:
        predicted, by_examples, classified, valued = stubs.ask(server.grpc_port, *calls)
    expected = content(predicted["outputs"]["probability"])
    assert content(by_examples["outputs"]["probability"]) == expected
    assert [one["value"] for one in valued["result"]["regressions"]] == pytest.approx(expected)
    for row, probability in zip(classified["result"]["classifications"], expected, strict=True):
        assert [one["label"] for one in row["classes"]] == ["0", "1"]
        assert [one["score"] for one in row["classes"]] == pytest.approx([1 - probability, probability])


def encoded(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
