"""Neural nets by Keras 3 on TensorFlow, with a training loop of our own: Keras's `fit` does not run on workers that
mirror one another, nor with parameter servers (3.15)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from carrara.core.errors import NotFoundError, TrainingError
from carrara.core.plugins import require
from carrara.models.signature import TensorSpec
from carrara.training.cluster.cores import cores
from carrara.training.cluster.devices import placement
from carrara.training.cluster.evaluator import Evaluator, measure_states
from carrara.training.stopwatch import Stopwatch
from carrara.training.trainers.base import FEATURES, Array, Fitted, Part, Task, refuse_missing
from carrara.training.trainers.blocks import NUMBERS, blocks_of
from carrara.training.trainers.device import described, tensorflow_devices
from carrara.training.trainers.epochs import MARGINS, Scale, run_epochs, scaled
from carrara.training.trainers.keras_strategies import Alone, Coordinated, MirroredHere, Strategy, joined_strategy
from carrara.training.trainers.keras_tables import Whole, shards_of, table
from carrara.training.trainers.layers import frozen_layers
from carrara.training.trainers.net_graph import dense_graph
from carrara.training.trainers.nets import NetTrainer, fit_net
from carrara.training.trainers.saved_model import frozen, saved_model
from carrara.training.trainers.shape import Shape

_ROWS_AT_ONCE = 65_536
_EXPORTS = ("onnx", "saved_model")
_PRECISIONS = {"float32": "float32", "bf16": "mixed_bfloat16"}
"""By Keras's names."""

_OPSET = 18
"""The newest that tf2onnx knows (1.17)."""


@dataclass(frozen=True)
class Keras(NetTrainer):
    __doc__ = f"""A net of dense layers by Keras 3 on TensorFlow, with AdamW. {NetTrainer.__doc__}
    `export` is what is served, "onnx" or "saved_model": with the transforms inside, and signatures for `tf.Example`s.
    `precision` is that of steps: "float32" or "bf16" (mixed); losses are measured, and the net is served, in float32.
    """

    export: str = "onnx"
    precision: str = "float32"

    name = "keras"
    distributed: ClassVar[bool] = True
    parameter_servers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.export not in _EXPORTS:
            raise NotFoundError("export", self.export, _EXPORTS)
        if self.precision not in _PRECISIONS:
            raise NotFoundError("precision", self.precision, _PRECISIONS)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        tensorflow, keras = _libraries()
        refuse_missing(train, task)
        net = _KerasNet(tensorflow, keras, self, task, self._here(tensorflow, task))
        whole = net.whole if self.export == "saved_model" else None
        fitted = fit_net(self, net, train, validation, task, whole)
        return replace(fitted, libraries=("tensorflow", "tensorflow-cpu", "keras", *fitted.libraries))

    def join(self, train: Part, validation: Part, task: Task) -> None:
        tensorflow, keras = _libraries()
        refuse_missing(train, task)
        # By itself each process takes as many threads as the machine has cores, and they stand in one another's way.
        tensorflow.config.threading.set_intra_op_parallelism_threads(cores())
        task.computed(described(_chosen(tensorflow, self.device, one=True)[0], precision=self.precision))
        strategy = joined_strategy(tensorflow)
        net = _KerasNet(tensorflow, keras, self, task, strategy)
        if isinstance(strategy, Coordinated):
            task.tell(f"variables: {placement(net.devices())}")
        run_epochs(self, net, train, validation, task, Evaluator.of_environment())

    def measure(self, train: Part, validation: Part, task: Task) -> None:
        """Be the evaluator of a fit; see `DistributedTrainer`."""
        tensorflow, keras = _libraries()
        _chosen(tensorflow, self.device, one=True)
        _, train, validation = scaled(train, validation, task)
        net = _KerasNet(tensorflow, keras, self, task, Alone(tensorflow))

        def losses(state: Sequence[Array]) -> tuple[float, float]:
            net.restore(state)
            return net.loss(train), net.loss(validation)

        measure_states(losses)

    def _here(self, tensorflow: Any, task: Task) -> Strategy:
        """One process: with several accelerators, each takes its share of a batch."""
        devices = _chosen(tensorflow, "auto" if task.trained else self.device)
        several = {"devices": len(devices)} if len(devices) > 1 else {}
        task.computed(described(devices[0], precision=self.precision, **several))
        return MirroredHere(tensorflow, devices) if len(devices) > 1 else Alone(tensorflow)


def _chosen(tensorflow: Any, asked: str, *, one: bool = False) -> list[str]:
    """The devices that a fit computes on, or the `one` of a process that shares it; TensorFlow sees no other ones.

    Raises TrainingError where it computes on others already.
    """
    devices = tensorflow_devices(tensorflow, asked, one=one)
    cards = tensorflow.config.list_physical_devices("GPU")
    chosen = [card for card in cards if card.name.removeprefix("/physical_device:") in devices]
    if chosen != tensorflow.config.get_visible_devices("GPU"):
        try:
            tensorflow.config.set_visible_devices(chosen, "GPU")
        except RuntimeError as error:
            raise TrainingError(
                f"TensorFlow computes on other devices in this process already than on {', '.join(devices)}",
                hint="Train each device's models by a command of their own.",
            ) from error
    return devices


def _libraries() -> tuple[Any, Any]:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = require("tensorflow", extra="tensorflow", purpose="the trainer 'keras'")
    keras = require("keras", extra="tensorflow", purpose="the trainer 'keras'")
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"Keras runs on {keras.backend.backend()} here, and this trainer on TensorFlow",
            hint="Unset KERAS_BACKEND.",
        )
    tensorflow.config.experimental.enable_op_determinism()
    return tensorflow, keras


class _KerasNet:
    format = "tensorflow"

    def __init__(self, tensorflow: Any, keras: Any, trainer: Keras, task: Task, strategy: Strategy) -> None:
        self._tensorflow, self._keras, self._task, self._strategy = tensorflow, keras, task, strategy
        self.watch = Stopwatch()
        self.shape = Shape.of(trainer.layers, task) if trainer.build is None else None
        self._parts, self._policy = trainer.accumulate, _PRECISIONS[trainer.precision]
        keras.utils.set_random_seed(task.seed)
        with strategy.scope():
            if self.shape is not None:
                self._model = _dense(tensorflow, keras, trainer.dropout, self.shape, len(task.names), strategy.servers)
            else:
                self._model = _built(keras, trainer.build, task)
            held = frozen_layers(trainer.freeze, self.names(), task)
            for name, group in zip(self.names(), Whole(self._learned()).groups, strict=True):
                for variable in group:
                    variable.trainable = variable.trainable and name not in held
            self._optimiser = keras.optimizers.AdamW(trainer.learning_rate, weight_decay=trainer.weight_decay)
            self._optimiser.build(self._model.trainable_variables)
        self._losses = {
            "binary": keras.losses.BinaryCrossentropy(from_logits=True),
            "multiclass": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "regression": keras.losses.MeanSquaredError(),
            "multilabel": keras.losses.BinaryCrossentropy(from_logits=True),
        }[task.kind]
        labels = (None, task.outputs) if task.kind == "multilabel" else (None,)
        kinds = [(None, len(task.names)), labels, (None,), ()]
        specs = [tensorflow.TensorSpec(kind, tensorflow.float32) for kind in kinds]
        self._step = tensorflow.function(strategy.wrapped(self._stepped), input_signature=specs)
        self._loss = tensorflow.function(strategy.summed(self._measured), input_signature=specs[:3])
        self._margins = tensorflow.function(lambda rows: self._model(rows, training=False), input_signature=specs[:1])

    def begin(self, epoch: int) -> None:
        """The dropout's seeds are in the state, and move with each step."""

    def learn(self, part: Part, orders: Iterable[Array]) -> None:
        with self.watch.running():
            for given in self.watch.fed(self._gathered(part, rows) for rows in orders):
                self._strategy.run(self._step, *given)
            self._strategy.settle()

    def loss(self, part: Part) -> float:
        weights = np.ones(len(part.labels), np.float32) if part.weights is None else part.weights
        total = self._strategy.total(self._loss, self._chunks(part, weights))
        return total / float(weights.sum(dtype=np.float64))

    def predict(self, features: Array) -> Array:
        starts = range(0, len(features), _ROWS_AT_ONCE)
        # As it will be served, wherever it was trained.
        with self._tensorflow.device("CPU:0"):
            return np.concatenate([self._margins(features[start : start + _ROWS_AT_ONCE]).numpy() for start in starts])

    def to_cpu(self) -> None:
        """`predict` is computed there as it is."""

    def devices(self) -> list[str]:
        return [variable.value.device for variable in self._variables()]

    def weights(self) -> list[Array]:
        return Whole(self._learned()).read()

    def names(self) -> list[str]:
        return list(self.shape.names) if self.shape is not None else Whole(self._learned()).names()

    def begin_with(self, weights: Sequence[Array]) -> None:
        Whole(self._learned()).write(weights)

    def state(self) -> list[Array]:
        self._strategy.settle()
        return Whole(self._variables()).read()

    def restore(self, state: Sequence[Array]) -> None:
        self._strategy.settle()
        Whole(self._variables()).write(state)

    def graph(self) -> bytes:
        if self.shape is not None:
            return dense_graph(self.shape, self.weights(), len(self._task.names))
        return _exported(self._tensorflow, self._model, len(self._task.names))

    def native(self, scale: Scale) -> Mapping[str, bytes]:
        return self.whole(scale, (TensorSpec(FEATURES, "float32", (None, len(self._task.names))),), None)

    def whole(self, scale: Scale, inputs: Sequence[TensorSpec], transforms: bytes | None) -> Mapping[str, bytes]:
        with self._tensorflow.device("CPU:0"):
            net = frozen(self._margins.get_concrete_function())
        return saved_model(self._tensorflow, net, inputs, transforms, scale, self._task)

    def _learned(self) -> list[Any]:
        """All that the margins depend on: weights, and what layers count."""
        # By its path: variables compare by their values, as tensors do.
        return [variable for variable in self._model.variables if "seed" not in variable.path]

    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._optimiser.variables]

    def _gathered(self, part: Part, rows: Array) -> tuple[Any, ...]:
        """This process's rows of a batch, and the total of the whole batch's weights."""
        weights = np.ones(len(rows), np.float32) if part.weights is None else part.weights[rows]
        mine = self._strategy.mine(rows)
        return part.features[mine], part.labels[mine], self._strategy.mine(weights), np.float32(weights.sum())

    def _chunks(self, part: Part, weights: Array) -> Iterator[tuple[Array, ...]]:
        for start in range(0, len(part.labels), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            yield tuple(self._strategy.mine(values[rows]) for values in (part.features, part.labels, weights))

    def _stepped(self, features: Any, labels: Any, weights: Any, total: Any) -> None:
        rows, found = self._tensorflow.shape(labels)[0], []
        for part in range(self._parts):
            some = slice(rows * part // self._parts, rows * (part + 1) // self._parts)
            given = (features, labels, weights) if self._parts == 1 else (features[some], labels[some], weights[some])
            with self._tensorflow.GradientTape() as tape:
                loss = self._weighted(*given, training=True) / total
            found.append(tape.gradient(loss, self._model.trainable_variables))
        gradients = [_sum(self._tensorflow, each) for each in zip(*found, strict=True)]
        # Where workers mirror one another, the optimiser adds up what they have found (keras, TFOptimizer).
        self._optimiser.apply(gradients, self._model.trainable_variables)

    def _measured(self, features: Any, labels: Any, weights: Any) -> Any:
        return self._weighted(features, labels, weights, training=False)

    def _weighted(self, features: Any, labels: Any, weights: Any, *, training: bool) -> Any:
        """The sum of the rows' losses by their weights."""
        math = self._tensorflow
        with _computing(self._model, self._policy if training else "float32"):
            margins = math.cast(self._model(features, training=training), math.float32)
        truth = labels if self._task.kind in ("multiclass", "multilabel") else math.expand_dims(labels, 1)
        return math.reduce_sum(math.reshape(self._losses.call(truth, margins), (-1,)) * weights)


@contextmanager
def _computing(model: Any, policy: str) -> Iterator[None]:
    """Trace a model whose layers compute by another policy than the one that they were built with."""
    layers = [layer for layer in model._flatten_layers() if layer.dtype_policy.name == "float32"]
    for layer in layers:
        layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"


def _sum(tensorflow: Any, gradients: Sequence[Any]) -> Any:
    """Of the parts of a batch; of an embedding they are rows, which the optimiser adds up itself."""
    if len(gradients) == 1:
        return gradients[0]
    if not isinstance(gradients[0], tensorflow.IndexedSlices):
        return tensorflow.add_n(gradients)
    values, rows = ([getattr(one, name) for one in gradients] for name in ("values", "indices"))
    return tensorflow.IndexedSlices(tensorflow.concat(values, 0), tensorflow.concat(rows, 0), gradients[0].dense_shape)


def _dense(tensorflow: Any, keras: Any, dropout: float, shape: Shape, columns: int, servers: int) -> Any:
    layers, ops = keras.layers, keras.ops
    features = keras.Input((columns,))
    parts = [ops.take(features, list(shape.numbers), axis=1)] if shape.numbers else []
    for (place, size), width in zip(shape.categories, shape.dimensions, strict=True):
        places = ops.clip(ops.cast(features[:, place], "int32"), 0, size - 1)
        parts.append(table(tensorflow, keras, size, width, shards_of(size, width, servers))(places))
    flow = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for width in shape.layers:
        flow = layers.Dropout(dropout)(layers.Dense(width, "relu")(flow))
    return keras.Model(features, layers.Dense(shape.outputs)(flow))


def _built(keras: Any, build: Callable[..., Any] | None, task: Task) -> Any:
    """The net that a function builds: from tensors by the names of blocks to margins."""
    assert build is not None
    ops, inputs = keras.ops, {}
    features = keras.Input((len(task.names),))
    for name, block in blocks_of(task).items():
        found = ops.take(features, list(block.places), axis=1)
        if block.categories is not None:
            found = ops.clip(ops.cast(found, "int32"), 0, block.categories - 1)
        inputs[name] = found if name == NUMBERS else ops.reshape(found, (-1, *block.shape))
    margins = build(inputs, task)
    if getattr(margins, "shape", None) != (None, task.outputs):
        raise TrainingError(
            f"the net of '{build.__name__}' gives {getattr(margins, 'shape', type(margins).__name__)}, "
            f"and a tensor of shape (None, {task.outputs}) is expected",
            hint="return keras.layers.Dense(task.outputs)(flow)",
        )
    return keras.Model(features, margins)


def _exported(tensorflow: Any, model: Any, columns: int) -> bytes:
    """A model as an ONNX graph from FEATURES to MARGINS."""
    tf2onnx = require("tf2onnx", extra="tensorflow", purpose="the export of a net of one's own to ONNX")
    specs = [tensorflow.TensorSpec((None, columns), tensorflow.float32, name=FEATURES)]

    def margins(features: Any) -> Any:
        return {MARGINS: model(features, training=False)}

    found, _ = tf2onnx.convert.from_function(
        tensorflow.function(margins, input_signature=specs), input_signature=specs, opset=_OPSET
    )
    return bytes(found.SerializeToString())
