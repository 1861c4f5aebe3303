"""k-means: clusters of rows around centres (Lloyd, 1982), by scikit-learn, with a graph and parameters of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np

from carrara.core.errors import DefinitionError, TrainingError
from carrara.core.plugins import require
from carrara.models.signature import TensorSpec
from carrara.training.onnx_graphs import IR_VERSION, OPSET
from carrara.training.search import Between, Space
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Fitted, Part, Task, refuse_missing

_ROWS = 65_536


@dataclass(frozen=True)
class KMeans:
    """Each row belongs to the nearest of so many centres; of `starts` from different places the best is kept.

    For a model without a label, `label=carrara.Unlabelled(…)`. It gives `cluster`, `distance` to its centre, and
    `distances` to all. It takes no missing numbers, and every column counts by its size: `transforms=(carrara.Impute(),
    carrara.Standardise())`.
    """

    clusters: int = 8
    starts: int = 10
    iterations: int = 300

    name = "kmeans"
    space: ClassVar[Mapping[str, Space]] = {"clusters": Between(2, 20)}

    def __post_init__(self) -> None:
        if self.clusters < 2:
            raise DefinitionError(f"KMeans(clusters={self.clusters}) makes no difference between rows")

    def spec(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        cluster = require("sklearn.cluster", extra="sklearn", purpose="the trainer 'kmeans'")
        self._check(train, task)
        model = cluster.KMeans(self.clusters, n_init=self.starts, max_iter=self.iterations, random_state=task.seed)
        threads = require("threadpoolctl", extra="sklearn", purpose="the trainer 'kmeans'")
        # Sums by several threads come in another order each time, and the last bits of the centres with them.
        with threads.threadpool_limits(1):
            model.fit(train.features.astype(np.float64), sample_weight=train.weights)
        centres = np.asarray(model.cluster_centers_)
        sizes = np.bincount(model.labels_, minlength=self.clusters)
        between = (sizes[:, None] * (centres - train.features.mean(axis=0, dtype=np.float64)) ** 2).sum(axis=0)
        learned = {"centres": centres.tolist(), "features": list(task.names), "rows": sizes.tolist()}
        task.advance(1, 1)
        return Fitted(
            predict=lambda rows: distances(rows, centres),
            to_onnx=lambda: _graph(centres),
            learned={"learned.json": msgspec.json.encode(learned)},
            importance=dict(zip(task.names, (between / (between.sum() or 1.0)).tolist(), strict=True)),
            summary={"clusters": self.clusters, "iterations": int(model.n_iter_)},
            classes=tuple(map(str, range(self.clusters))),
            outputs=(TensorSpec("cluster", "int64"), TensorSpec("distance", "float32")),
            libraries=("scikit-learn", "onnx"),
        )

    def _check(self, train: Part, task: Task) -> None:
        if task.kind != "clustering":
            raise TrainingError(
                "k-means learns from no label", hint='label=carrara.Unlabelled(dataset="trips", time="at")'
            )
        if task.start:
            raise TrainingError(f"the trainer '{self.name}' cannot go on from another version")
        refuse_missing(train, task, "k-means")
        different = len(np.unique(train.features[:_ROWS], axis=0))
        if different < self.clusters:
            raise TrainingError(f"{different:,} different rows make no {self.clusters} clusters", hint="Ask for fewer.")


def distances(rows: Array, centres: Array) -> Array:
    """Of each row to every centre, float64 of shape (rows, clusters), a bounded number of rows at a time."""
    found = np.empty((len(rows), len(centres)))
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS].astype(np.float64)
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ centres.T + (centres**2).sum(axis=1)
        found[start : start + _ROWS] = np.sqrt(np.maximum(squares, 0))
    return found


def _graph(centres: Array) -> bytes:
    """In float64, as squares of close rows would cancel out in float32."""
    onnx = require("onnx", extra="sklearn", purpose="the export to ONNX")
    helper, types, name = onnx.helper, onnx.TensorProto, OUTPUTS["clustering"]
    constants = {
        "turned": -2 * centres.T,
        "squares": (centres**2).sum(axis=1),
        "least": np.zeros((), np.float64),
        "columns": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", [FEATURES], ["wide"], to=types.DOUBLE),
        helper.make_node("Mul", ["wide", "wide"], ["squared"]),
        helper.make_node("ReduceSum", ["squared", "columns"], ["own"], keepdims=1),
        helper.make_node("MatMul", ["wide", "turned"], ["products"]),
        helper.make_node("Add", ["products", "squares"], ["without own"]),
        helper.make_node("Add", ["without own", "own"], ["whole"]),
        helper.make_node("Max", ["whole", "least"], ["not below"]),
        helper.make_node("Sqrt", ["not below"], ["exact"]),
        helper.make_node("Cast", ["exact"], [name], to=types.FLOAT),
        helper.make_node("ArgMin", ["exact"], ["cluster"], axis=1, keepdims=0),
        helper.make_node("ReduceMin", [name, "columns"], ["distance"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(FEATURES, types.FLOAT, [None, centres.shape[1]])],
        [
            helper.make_tensor_value_info(name, types.FLOAT, [None, len(centres)]),
            helper.make_tensor_value_info("cluster", types.INT64, [None]),
            helper.make_tensor_value_info("distance", types.FLOAT, [None]),
        ],
        initializer=[onnx.numpy_helper.from_array(values, key) for key, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))
