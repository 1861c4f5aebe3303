"""Neural nets by Keras 3 on TensorFlow, on the CPU, with a training loop of our own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.core.plugins import require
from carrara.training.trainers.base import Array, Fitted, Part, Task
from carrara.training.trainers.nets import NetTrainer, Shape, fit_net, refuse_missing

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Keras(NetTrainer):
    __doc__ = f"""A net of dense layers by Keras 3 on TensorFlow, with AdamW. {NetTrainer.__doc__}"""

    name = "keras"

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        tensorflow = require("tensorflow", extra="tensorflow", purpose="the trainer 'keras'")
        keras = require("keras", extra="tensorflow", purpose="the trainer 'keras'")
        if keras.backend.backend() != "tensorflow":
            raise TrainingError(
                f"Keras runs on {keras.backend.backend()} here, and this trainer on TensorFlow",
                hint="Unset KERAS_BACKEND.",
            )
        refuse_missing(train, task)
        tensorflow.config.experimental.enable_op_determinism()
        shape = Shape.of(self, task)
        fitted = fit_net(self, _KerasNet(tensorflow, keras, self, shape, task), shape, train, validation, task)
        return replace(fitted, libraries=("tensorflow", "tensorflow-cpu", "keras", *fitted.libraries))


class _KerasNet:
    def __init__(self, tensorflow: Any, keras: Any, trainer: NetTrainer, shape: Shape, task: Task) -> None:
        self._tensorflow, self._keras, self._shape, self._task = tensorflow, keras, shape, task
        keras.utils.set_random_seed(task.seed)
        self._model = _model(keras, trainer, shape, len(task.names))
        self._optimiser = keras.optimizers.AdamW(trainer.learning_rate, weight_decay=trainer.weight_decay)
        self._optimiser.build(self._model.trainable_variables)
        self._losses = {
            "binary": keras.losses.BinaryCrossentropy(from_logits=True),
            "multiclass": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "regression": keras.losses.MeanSquaredError(),
        }[task.kind]
        kinds = [(None, len(task.names)), (None,), (None,)]
        specs = [tensorflow.TensorSpec(kind, tensorflow.float32) for kind in kinds]
        self._step = tensorflow.function(self._stepped, input_signature=specs)
        self._loss = tensorflow.function(self._measured, input_signature=specs)
        self._margins = tensorflow.function(lambda rows: self._model(rows, training=False), input_signature=specs[:1])

    def begin(self, epoch: int) -> None:
        """The dropout's seeds are in the state, and move with each step."""

    def step(self, features: Array, labels: Array, weights: Array) -> None:
        self._step(features, labels, weights)

    def loss(self, part: Part) -> float:
        total, weight = 0.0, 0.0
        for start in range(0, len(part.labels), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            given = np.ones(len(part.labels[rows]), np.float32) if part.weights is None else part.weights[rows]
            total += float(self._loss(part.features[rows], part.labels[rows], given)) * float(given.sum())
            weight += float(given.sum())
        return total / weight

    def end(self) -> None:
        pass

    def predict(self, features: Array) -> Array:
        starts = range(0, len(features), _ROWS_AT_ONCE)
        return np.concatenate([self._margins(features[start : start + _ROWS_AT_ONCE]).numpy() for start in starts])

    def weights(self) -> list[Array]:
        return [variable.numpy().copy() for variable in self._model.trainable_variables]

    def begin_with(self, weights: Sequence[Array]) -> None:
        for variable, values in zip(self._model.trainable_variables, weights, strict=True):
            variable.assign(values)

    def state(self) -> list[Array]:
        return [np.array(variable.numpy()) for variable in self._variables()]

    def restore(self, state: Sequence[Array]) -> None:
        for variable, values in zip(self._variables(), state, strict=True):
            variable.assign(values)

    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._optimiser.variables]

    def _stepped(self, features: Any, labels: Any, weights: Any) -> None:
        with self._tensorflow.GradientTape() as tape:
            loss = self._weighted(features, labels, weights, training=True)
        variables = self._model.trainable_variables
        self._optimiser.apply(tape.gradient(loss, variables), variables)

    def _measured(self, features: Any, labels: Any, weights: Any) -> Any:
        return self._weighted(features, labels, weights, training=False)

    def _weighted(self, features: Any, labels: Any, weights: Any, *, training: bool) -> Any:
        margins, math = self._model(features, training=training), self._tensorflow
        truth = labels if self._task.kind == "multiclass" else math.expand_dims(labels, 1)
        each = math.reshape(self._losses.call(truth, margins), (-1,))
        return math.reduce_sum(each * weights) / math.reduce_sum(weights)


def _model(keras: Any, trainer: NetTrainer, shape: Shape, columns: int) -> Any:
    layers, ops = keras.layers, keras.ops
    features = keras.Input((columns,))
    parts = [ops.take(features, list(shape.numbers), axis=1)] if shape.numbers else []
    for (place, size), width in zip(shape.categories, shape.dimensions, strict=True):
        places = ops.clip(ops.cast(features[:, place], "int32"), 0, size - 1)
        parts.append(layers.Embedding(size, width)(places))
    flow = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for width in shape.layers:
        flow = layers.Dropout(trainer.dropout)(layers.Dense(width, "relu")(flow))
    return keras.Model(features, layers.Dense(shape.outputs)(flow))
