"""Linear and logistic regression by Spark MLlib, for training sets that a cluster reads better than one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from carrara.evaluation.metrics import Kind
from carrara.training.search import Between, Space
from carrara.training.trainers.base import Array, Fitted, Part, Task
from carrara.training.trainers.linear_fitted import fitted_linear
from carrara.training.trainers.spark import COLUMNS, asked, check_task, classes_in, on_spark


@dataclass(frozen=True)
class SparkLinear:
    """Logistic regression of a class, linear regression of a number, by Spark MLlib (L-BFGS, and OWL-QN with `l1`).

    `penalty` is the weight of the penalty beside the mean loss, of which the share `l1_share` is by absolute values,
    which leave columns out, and the rest by squares; columns are penalised at one scale whatever theirs is. It takes no
    missing numbers.
    """

    penalty: float = 0.001
    l1_share: float = 0.0
    iterations: int = 200

    name = "spark_linear"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression")
    space: ClassVar[Mapping[str, Space]] = {
        "penalty": Between(0.00001, 1.0, log=True),
        "l1_share": Between(0.0, 1.0),
    }

    def spec(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        check_task(train, task, self.name)
        with on_spark(task, self.name) as spark:
            model = self._model(task).fit(spark.of(train, classes=classes_in(task)))
            iterations = int(model.summary.totalIterations) if model.hasSummary else 1
        weights, intercepts = _coefficients(model, task)
        return fitted_linear(
            lambda rows: asked(model, rows, task, self.name),
            weights,
            intercepts,
            train.features.std(axis=0, dtype=np.float64),
            task,
            iterations=iterations,
            libraries=("pyspark", "onnx"),
        )

    def _model(self, task: Task) -> Any:
        from pyspark.ml.classification import LogisticRegression
        from pyspark.ml.regression import LinearRegression

        kind = LinearRegression if task.kind == "regression" else LogisticRegression
        return kind(
            **COLUMNS,
            regParam=self.penalty,
            elasticNetParam=self.l1_share,
            maxIter=self.iterations,
        )


def _coefficients(model: Any, task: Task) -> tuple[Array, Array]:
    """Float64 of shapes (outputs, columns) and (outputs,)."""
    if task.kind == "regression":
        return np.asarray(model.coefficients.toArray())[None, :], np.array([model.intercept])
    return np.asarray(model.coefficientMatrix.toArray()), np.asarray(model.interceptVector.toArray())
