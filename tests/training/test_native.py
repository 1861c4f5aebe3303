"""What ONNX cannot express is kept as its framework writes it, asked as it will be served, and said in the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import TrainingError
from carrara.data.splits import TimeSplit
from carrara.models.runtimes.base import TRANSFORMS, open_servable
from carrara.training.fit import fit_prepared, prepare
from carrara.training.model import Label, Model
from carrara.training.proof import exported, said
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.xgboost import XGBoost
from carrara.training.transforms.numbers import Standardise

RANDOM = np.random.default_rng(1)
ROWS = 600
X = RANDOM.normal(size=(ROWS, 2))
TABLE = pl.DataFrame(
    {
        "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(ROWS)],
        "v:x": X[:, 0],
        "v:y": X[:, 1],
        "up": X[:, 0] > 0,
        "size": 40 + 10 * X[:, 0],
    }
)
PARTS = {"train": TABLE[:400], "validation": TABLE[400:500], "test": TABLE[500:]}
FEATURES = ("v:x", "v:y")


def bessel_in_torch(inputs, task):
    import torch

    class Bessel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, task.outputs)

        def forward(self, tensors):
            return self.layer(tensors["numbers"]) + 0.1 * torch.special.bessel_j0(tensors["numbers"][:, :1])

    return Bessel()


def bessel_in_keras(inputs, task):
    import keras
    import tensorflow

    bent = keras.layers.Lambda(tensorflow.math.special.bessel_j0, output_shape=lambda shape: shape)(inputs["numbers"])
    return keras.layers.Dense(task.outputs)(keras.layers.Concatenate()([inputs["numbers"], bent]))


def model(trainer, column="up", kind="binary"):
    split = TimeSplit(validation_from="2024-01-02", test_from="2024-01-03")
    return Model("m", FEATURES, Label("rows", column, "at", kind=kind), split, trainer, transforms=(Standardise(),))


@pytest.mark.parametrize(
    ("trainer", "format_", "file"),
    [
        (Torch(build=bessel_in_torch, epochs=2), "torch", "model.pt2"),
        pytest.param(Keras(build=bessel_in_keras, epochs=2), "tensorflow", "saved_model.pb", marks=pytest.mark.slow),
    ],
    ids=["torch", "keras"],
)
@pytest.mark.parametrize(("column", "kind"), [("up", "binary"), ("size", "regression")])
def test_a_net_that_onnx_cannot_express_is_kept_natively_and_served(trainer, format_, file, column, kind, tmp_path):
    declared = model(trainer, column, kind)
    prepared = prepare(declared, FEATURES, PARTS)
    made = fit_prepared(declared, prepared)
    assert (made.format, made.export["kept"], made.export["equal"]) == (format_, format_, False)
    assert made.export["native"]["equal"]
    assert {file, TRANSFORMS} <= set(made.files)
    assert said(dict(made.export)).startswith(f"kept as {format_}: ")

    write(made.files, tmp_path)
    servable = open_servable(made.format, tmp_path, made.signature)
    found = servable.run(made.signature.tensors(PARTS["test"]))[made.signature.outputs[0].name]
    fitted = trainer.fit(prepared.train, prepared.validation, prepared.task)
    expected = fitted.predict(prepared.inputs.matrix(PARTS["test"]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_native_form_that_answers_otherwise_is_refused():
    prepared = prepare(model(XGBoost(trees=5, depth=2)), FEATURES, PARTS)
    trainer = XGBoost(trees=5, depth=2)
    fitted = trainer.fit(prepared.train, prepared.validation, prepared.task)
    rows = prepared.validation.features

    def refuses() -> bytes:
        raise ValueError("this splits by a moon")

    kept = exported(replace(fitted, to_onnx=refuses), "binary", rows)
    assert (kept.format, kept.graph, kept.proof["native"]["equal"]) == ("xgboost", None, True)
    other = XGBoost(trees=1, depth=1).fit(prepared.train, prepared.validation, prepared.task)
    wrong = replace(fitted, to_onnx=refuses, native=other.native)
    with pytest.raises(TrainingError, match="its form for the runtime 'xgboost' differs"):
        exported(wrong, "binary", rows)
    with pytest.raises(TrainingError, match=r"by a moon.*no other form that is safe to keep"):
        exported(replace(fitted, to_onnx=refuses, native={}), "binary", rows)


def write(files, folder: Path) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
