"""Nets of one's own, by Torch and by Keras, of images, texts and numbers: they learn, and their graphs are equal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import DataError, TrainingError
from carrara.data.splits import TimeSplit
from carrara.models.learned.parameters import told_parameters
from carrara.models.runtimes.base import open_servable
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.cluster.team import Team
from carrara.training.fit import fit_model, fit_prepared, prepare
from carrara.training.model import Label, Model
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.torch import Torch
from carrara.training.transforms.numbers import Impute, Standardise
from carrara.training.transforms.texts import Vocabulary
from carrara.training.transforms.tokens import Tokens

RANDOM = np.random.default_rng(0)
ROWS, SIZE = 1_500, 6
IMAGES = RANDOM.normal(size=(ROWS, SIZE, SIZE)).astype(np.float32)
PLACE = RANDOM.integers(0, 2, ROWS)
IMAGES[np.arange(ROWS), 1 + 3 * PLACE, 2] += 5
WORDS = np.array(["good", "bad", "the", "Train", "was", "late", "today", "again"])
TEXTS = [" ".join(RANDOM.choice(WORDS, RANDOM.integers(0, 12))) for _ in range(ROWS)]
LIKED = np.array([text.split().count("good") > text.split().count("bad") for text in TEXTS])
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(ROWS)],
        "v:image": IMAGES.tolist(),
        "v:text": TEXTS,
        "v:number": RANDOM.normal(size=ROWS),
        "v:colour": RANDOM.choice(["red", "green"], ROWS),
        "lower": PLACE == 1,
        "liked": LIKED,
        "kind": np.where(PLACE == 1, np.where(LIKED, "both", "lower"), "upper"),
    },
    schema_overrides={"v:image": pl.List(pl.List(pl.Float32))},
)
PARTS = {"train": TABLE[:1_000], "validation": TABLE[1_000:1_250], "test": TABLE[1_250:]}


def model(trainer, label, features, transforms=(), kind="binary"):
    split = TimeSplit(validation_from="2024-01-02", test_from="2024-01-03")
    return Model("m", features, Label("rows", label, "at", kind=kind), split, trainer, transforms=transforms)


def served(made, folder, rows=PARTS["test"]):
    for name, data in made.files.items():
        (folder / name).write_bytes(data)
    servable = open_servable(made.format, folder, made.signature)
    servable.warm_up()
    return servable.run(made.signature.tensors(rows))[made.signature.outputs[0].name]


def torch_cnn(inputs, task):
    import torch

    class Cnn(torch.nn.Module):
        def __init__(self):
            super().__init__()
            height, width = inputs["v:image"]
            self.convolution = torch.nn.Conv2d(1, 4, 3)
            self.normal = torch.nn.BatchNorm2d(4)
            self.last = torch.nn.Linear(4 * (height - 2) * (width - 2), task.outputs)

        def forward(self, given):
            flow = torch.relu(self.normal(self.convolution(given["v:image"].unsqueeze(1))))
            return self.last(flow.flatten(1))

    return Cnn()


def torch_reader(inputs, task):
    import torch

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(task.categories["v:text"], 8, padding_idx=0)
            self.colours = torch.nn.Embedding(task.categories["v:colour"], 2)
            self.last = torch.nn.Linear(8 + 2 + inputs["numbers"][0], task.outputs)

        def forward(self, given):
            parts = [self.words(given["v:text"]).sum(1), self.colours(given["v:colour"]), given["numbers"]]
            return self.last(torch.cat(parts, 1))

    return Reader()


def keras_cnn(inputs, task):
    from keras import layers

    flow = layers.Reshape((*inputs["v:image"].shape[1:], 1))(inputs["v:image"])
    flow = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(flow))
    return layers.Dense(task.outputs)(layers.Dropout(0.1)(layers.Flatten()(flow)))


def keras_reader(inputs, task):
    from keras import layers

    words = layers.GlobalAveragePooling1D()(layers.Embedding(task.categories["v:text"], 8)(inputs["v:text"]))
    colours = layers.Embedding(task.categories["v:colour"], 2)(inputs["v:colour"])
    flow = layers.Concatenate()([words, colours, inputs["numbers"]])
    return layers.Dense(task.outputs)(flow)


def torch_of_the_wrong_shape(inputs, task):
    import torch

    class Wrong(torch.nn.Module):
        def forward(self, given):
            return given["v:image"].flatten(1)

    return Wrong()


NETS = {"torch": (Torch, torch_cnn, torch_reader), "keras": (Keras, keras_cnn, keras_reader)}
SHORT = {"epochs": 8, "batch_rows": 50, "learning_rate": 0.02, "early_stopping": 8}
READER = (Impute(), Standardise("v:number"), Tokens("v:text", length=10), Vocabulary("v:colour"))


@pytest.mark.parametrize("name", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_net_of_images_learns_and_is_served_images(tmp_path, name):
    trainer, cnn, _ = NETS[name]
    made = fit_model(model(trainer(build=cnn, **SHORT), "lower", ("v:image",)), ("v:image",), PARTS)
    assert (made.format, made.export["equal"], made.export["rows"]) == ("onnx", True, 250)
    assert made.signature.inputs[0].shape == (None, SIZE, SIZE)
    found = served(made, tmp_path)
    assert np.mean((found > 0.5) == PARTS["test"]["lower"].to_numpy()) > 0.95
    assert made.importance == {"v:image": pytest.approx(1)}
    told = told_parameters(made.learned)  # without the framework, by the names that it gives them
    assert (told["kind"], told["parameters"]) == ("net", made.summary["parameters"])
    layers = {one["layer"]: one["shape"] for one in told["layers"]}
    (kernel,) = (shape for layer, shape in layers.items() if layer.endswith(("convolution.weight", "conv2d/kernel")))
    assert sorted(kernel) == [1, 3, 3, 4]


@pytest.mark.parametrize("name", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_net_of_texts_categories_and_numbers_learns_and_is_served_texts(tmp_path, name):
    trainer, _, reader = NETS[name]
    features = ("v:text", "v:number", "v:colour")
    made = fit_model(model(trainer(build=reader, **SHORT), "liked", features, READER), features, PARTS)
    assert made.export["equal"]
    found = served(made, tmp_path)
    assert np.mean((found > 0.5) == PARTS["test"]["liked"].to_numpy()) > 0.9
    assert made.importance["v:text"] > 0.9


@pytest.mark.slow
def test_one_seed_gives_one_net_and_a_fit_goes_on_from_its_checkpoint(tmp_path):
    trainer = Torch(build=torch_cnn, **{**SHORT, "epochs": 4})
    made = model(trainer, "kind", ("v:image", "v:number"), (Impute(), Standardise("v:number")), kind="multiclass")
    whole = fit_model(made, made.features, PARTS)
    checkpoint = FileCheckpoint(tmp_path / "one")

    def killed(number: int, loss: float) -> None:
        if number == 2:
            raise KeyboardInterrupt

    prepared = prepare(made, made.features, PARTS, checkpoint=checkpoint)
    with pytest.raises(KeyboardInterrupt):
        fit_prepared(made, replace(prepared, task=replace(prepared.task, report=killed)))
    assert fit_prepared(made, prepared).learned["learned.npz"] == whole.learned["learned.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_two_workers_share_a_net_of_ones_own(name):
    trainer, _, reader = NETS[name]
    features = ("v:text", "v:number", "v:colour")
    made = model(trainer(build=reader, **SHORT), "liked", features, READER)
    prepared = prepare(made, features, PARTS)
    one = fit_prepared(made, prepared)
    two = fit_prepared(made, replace(prepared, task=replace(prepared.task, team=Team(2))))
    np.testing.assert_allclose(one.curve["validation"], two.curve["validation"], rtol=1e-3)


def test_a_net_that_gives_another_shape_is_refused():
    with pytest.raises(TrainingError, match=r"(?s)'torch_of_the_wrong_shape' gives \(2, 36\) .* and \(2, 1\) is expec"):
        fit_model(model(Torch(build=torch_of_the_wrong_shape), "lower", ("v:image",)), ("v:image",), PARTS)


def test_a_function_that_other_processes_could_not_have_is_refused():
    made = model(Torch(build=lambda inputs, task: None), "lower", ("v:image",))
    prepared = prepare(made, made.features, PARTS)
    with pytest.raises(TrainingError, match=r"(?s)'.*lambda.*' is not at the top of a file.*definitions file"):
        fit_prepared(made, replace(prepared, task=replace(prepared.task, team=Team(2))))


def test_images_are_columns_of_any_trainer_beside_numbers(tmp_path):
    features = ("v:number", "v:image")
    made = fit_model(model(Linear(), "lower", features, (Impute(), Standardise())), features, PARTS)
    assert made.export["equal"]
    assert made.importance["v:image"] > 0.9
    assert np.mean((served(made, tmp_path) > 0.5) == PARTS["test"]["lower"].to_numpy()) > 0.95


def test_images_of_several_shapes_are_refused():
    rows = PARTS["train"].with_columns(pl.col("v:image").list.head(5 + pl.int_range(1_000) % 2))
    with pytest.raises(DataError, match="'v:image' of the training set has arrays of 5, 6, and arrays of one shape"):
        fit_model(model(Linear(), "lower", ("v:image",)), ("v:image",), {**PARTS, "train": rows})


def test_tokens_are_places_of_words_filled_up_and_cut(tmp_path):
    features = ("v:text",)
    transform = Tokens(length=4, most=3, least=1)
    rows = pl.DataFrame({"v:text": ["a b A c d e", "b a", "", None, "b"] * 2, "at": TABLE["at"][:10]})
    rows = rows.with_columns(pl.Series("lower", [True, False] * 5))
    prepared = prepare(model(Linear(), "lower", features, (transform,)), features, {"train": rows, "validation": rows})
    assert prepared.inputs.learned[0]["learned"] == {"v:text": ["b", "a", "c"]}
    assert prepared.train.features[:5].tolist() == [[2, 1, 2, 3], [1, 2, 0, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]
    assert (prepared.task.shapes, prepared.task.categories) == ({"v:text": (4,)}, {"v:text": 5})
    empty = rows.with_columns(pl.lit("").alias("v:text"))
    assert not prepared.inputs.matrix(empty).any()
