"""Random forests and gradient-boosted trees by Spark MLlib, for training sets that a cluster reads better than one
machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import polars as pl

from carrara.evaluation.metrics import Kind
from carrara.models.learned.spark import read
from carrara.training.search import Between, Space
from carrara.training.trainers.base import Fitted, Part, Task
from carrara.training.trainers.forest_graph import forest_graph
from carrara.training.trainers.spark import COLUMNS, HELD, asked, check_task, classes_in, on_spark
from carrara.training.trainers.trees import edge_rows, float32_at_most

_NODE = ("prediction", "impurityStats", "rawCount", "gain", "leftChild", "rightChild")


@dataclass(frozen=True)
class SparkForest:
    """A random forest of a class or a number, by Spark MLlib.

    Each of the `trees` is grown on rows drawn with repetition, `row_share` as many as there are, to at most `depth`
    splits (30 is the most). `column_share` of the columns are looked at for each split, by default the square root of
    their number for a class and a third for a number. Columns are cut at `buckets` - 1 places at most, by their
    quantiles. It takes no missing numbers.
    """

    trees: int = 100
    depth: int = 10
    row_share: float = 1.0
    column_share: float | None = None
    min_leaf_rows: int = 1
    buckets: int = 64

    name = "spark_forest"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression")
    space: ClassVar[Mapping[str, Space]] = {
        "depth": Between(4, 16),
        "row_share": Between(0.3, 1.0),
        "column_share": Between(0.1, 1.0),
        "min_leaf_rows": Between(1, 100, log=True),
    }

    def spec(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        check_task(train, task, self.name)
        with on_spark(task, self.name) as spark:
            model = self._model(task).fit(spark.of(train, classes=classes_in(task)))
            saved = _saved(model, spark.folder / "model")
        return _fitted(model, saved, validation, task, self.name)

    def _model(self, task: Task) -> Any:
        from pyspark.ml.classification import RandomForestClassifier
        from pyspark.ml.regression import RandomForestRegressor

        kind = RandomForestRegressor if task.kind == "regression" else RandomForestClassifier
        return kind(
            numTrees=self.trees,
            **_grown(self, task),
        )


@dataclass(frozen=True)
class SparkBoosted:
    """Gradient-boosted trees of a label of two classes or of a number, by Spark MLlib.

    `trees` is the most that are grown; growing stops at the first tree that does not lower the validation loss by the
    share `least_gain`. `row_share` of the rows are drawn for each tree, and `column_share` of the columns for each
    split. Columns are cut at `buckets` - 1 places at most, by their quantiles. It takes no missing numbers.
    """

    trees: int = 100
    depth: int = 5
    learning_rate: float = 0.1
    row_share: float = 1.0
    column_share: float = 1.0
    min_leaf_rows: int = 1
    buckets: int = 64
    least_gain: float = 0.0

    name = "spark_boosted"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "regression")
    space: ClassVar[Mapping[str, Space]] = {
        "depth": Between(2, 8),
        "learning_rate": Between(0.02, 0.3, log=True),
        "row_share": Between(0.5, 1.0),
        "column_share": Between(0.4, 1.0),
        "min_leaf_rows": Between(1, 100, log=True),
    }

    def spec(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        check_task(train, task, self.name)
        with on_spark(task, self.name) as spark:
            # Without it the plan of a round holds those of all before it.
            spark.session.sparkContext.setCheckpointDir((spark.folder / "rounds").absolute().as_uri())
            rows = spark.of(train, validation, classes=classes_in(task))
            model = self._model(task).fit(rows)
            saved, curve = _saved(model, spark.folder / "model"), _curve(model, rows, task)
        for number, loss in enumerate(curve["validation"], start=1):
            task.report(number, loss)
        return _fitted(model, saved, validation, task, self.name, curve)

    def _model(self, task: Task) -> Any:
        from pyspark.ml.classification import GBTClassifier
        from pyspark.ml.regression import GBTRegressor

        kind = GBTRegressor if task.kind == "regression" else GBTClassifier
        return kind(
            validationIndicatorCol=HELD,
            validationTol=self.least_gain,
            maxIter=self.trees,
            stepSize=self.learning_rate,
            **_grown(self, task),
        )


def _grown(trainer: SparkForest | SparkBoosted, task: Task) -> dict[str, Any]:
    """How each tree of a forest or a sum is grown, by Spark's names."""
    return {
        **COLUMNS,
        "maxDepth": trainer.depth,
        "subsamplingRate": trainer.row_share,
        "featureSubsetStrategy": _share(trainer.column_share),
        "minInstancesPerNode": trainer.min_leaf_rows,
        "maxBins": trainer.buckets,
        "seed": task.seed,
    }


def _share(columns: float | None) -> str:
    """A share of the columns as Spark takes it; "1" would be one column."""
    return "auto" if columns is None else "all" if columns >= 1 else repr(float(columns))


def _fitted(
    model: Any,
    saved: bytes,
    validation: Part,
    task: Task,
    name: str,
    curve: Mapping[str, list[float]] | None = None,
) -> Fitted:
    forest, shares = read(saved), model.featureImportances.toArray()
    # Of several classes each tree votes for all, as one tree for each.
    leaves = sum(tree.leaves for tree in forest.trees) // len(forest.base)
    splits = (
        (int(column), float(threshold))
        for tree in forest.trees
        for left, column, threshold in zip(tree.left, tree.column, tree.threshold, strict=True)
        if left >= 0
    )
    task.advance(1, 1)
    return Fitted(
        predict=lambda rows: asked(model, rows, task, name),
        to_onnx=lambda: forest_graph(forest, task.kind, len(task.names)),
        edges=edge_rows(splits, validation.features),
        learned={"learned.json": saved},
        importance=dict(zip(task.names, shares.tolist(), strict=True)),
        curve=curve or {},
        summary={"trees": int(model.getNumTrees), "leaves": leaves},
        libraries=("pyspark", "onnx"),
    )


def _curve(model: Any, rows: Any, task: Task) -> dict[str, list[float]]:
    """The loss after each tree: the log loss, of which Spark tells twice as much, or the root of its squares' mean."""
    from pyspark.sql import functions as sql

    loss = np.sqrt if task.kind == "regression" else lambda told: told / 2
    more = ("squared",) if task.kind == "regression" else ()
    return {
        name: loss(np.array(model.evaluateEachIteration(rows.where(which), *more))).tolist()
        for name, which in (("train", ~sql.col(HELD)), ("validation", sql.col(HELD)))
    }


def _saved(model: Any, folder: Path) -> bytes:
    """The trees as JSON, each by arrays of its nodes, from the Parquet files that Spark saves.

    A split sends a row left where its column is at most the threshold, a float64 of which the float32 below is kept:
    for columns of float32 it is the same question.
    """
    model.save(folder.absolute().as_uri())
    table = pl.read_parquet(folder / "data" / "*.parquet").unnest("nodeData").sort("treeID", "id")
    weights = [float(weight) for weight in model.treeWeights]
    trees = []
    for number, nodes in enumerate(table.partition_by("treeID", maintain_order=True)):
        split = nodes["split"].struct
        thresholds = split.field("leftCategoriesOrThreshold").list.first().fill_null(0.0).to_numpy()
        trees.append(
            {
                "weight": weights[number],
                **{name: nodes[name].to_list() for name in _NODE},
                "column": split.field("featureIndex").to_list(),
                "threshold": float32_at_most(thresholds).tolist(),
            }
        )
    return msgspec.json.encode({"spark": type(model).__name__, "trees": trees})
