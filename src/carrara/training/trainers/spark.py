"""What trainers of Spark MLlib share: the session, rows on their way to Spark and back, and errors in one line.

Rows reach Spark as Parquet files in the workspace's folder, which every worker must be able to read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import TrainingError
from carrara.core.spark import said_by, spark_session
from carrara.training.trainers.base import Array, Part, Task, refuse_missing

FEATURES, LABEL, WEIGHT, HELD = "features", "label", "weight", "held"
COLUMNS: dict[str, Any] = {"featuresCol": FEATURES, "labelCol": LABEL, "weightCol": WEIGHT}
"""Where each estimator finds what it learns from."""

_ROW = "row"

_ROWS_A_FILE = 100_000
"""Files of so many rows are what Spark divides; fewer are one partition, of which all sums are taken in one order."""


@dataclass(frozen=True)
class SparkRows:
    """A folder that Spark can write to as well, and what is done in the session of a task."""

    session: Any
    folder: Path

    def of(self, *parts: Part, classes: int) -> Any:
        """A frame of parts: `features` a vector, `label` and `weight` numbers, and `held` of all but the first part."""
        from pyspark.sql import functions as sql

        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="rows-"))
        for number, part in enumerate(parts):
            self._write(folder, number, part)
        # Trees refuse more than a hundred classes that they have to count themselves.
        kind = {"type": "nominal", "num_vals": classes} if classes else {"type": "numeric"}
        label = sql.col(LABEL).cast("double").alias(LABEL, metadata={"ml_attr": {"name": LABEL, **kind}})
        rows = self._read(folder)
        return rows.select(rows[FEATURES], label, sql.col(WEIGHT).cast("double").alias(WEIGHT), HELD)

    def answers(self, model: Any, rows: Array, column: str) -> Array:
        """What a model of Spark says of each row, float64 of shape (rows,) or (rows, classes)."""
        from pyspark.ml.functions import vector_to_array
        from pyspark.sql import functions as sql

        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="asked-"))
        self._write(folder, 0, Part(rows, np.zeros(len(rows), np.float32)))
        asked = model.transform(self._read(folder))
        is_vector = column == "probability"
        said = vector_to_array(sql.col(column)) if is_vector else sql.col(column)
        # Spark reads the largest files first, and keeps no order.
        found: Any = pl.from_arrow(asked.select(_ROW, said.alias("said")).toArrow())
        said_in_order = found.sort(_ROW)["said"]
        return np.array(said_in_order.to_list()) if is_vector else said_in_order.to_numpy()

    def _write(self, folder: Path, number: int, part: Part) -> None:
        for start in range(0, len(part.features), _ROWS_A_FILE):
            some = slice(start, start + _ROWS_A_FILE)
            features = np.ascontiguousarray(part.features[some])
            rows = pl.DataFrame(
                {
                    _ROW: np.arange(start, start + len(features)),
                    FEATURES: pl.Series(features, dtype=pl.Array(pl.Float32, features.shape[1])),
                    LABEL: part.labels[some],
                    WEIGHT: np.ones(len(features), np.float32) if part.weights is None else part.weights[some],
                    HELD: np.full(len(features), number > 0),
                }
            )
            rows.write_parquet(folder / f"part-{number}-{start:012}.parquet")

    def _read(self, folder: Path) -> Any:
        from pyspark.ml.functions import array_to_vector

        rows = self.session.read.parquet(folder.absolute().as_uri())
        return rows.withColumn(FEATURES, array_to_vector(rows[FEATURES]))


@contextmanager
def on_spark(task: Task, name: str) -> Iterator[SparkRows]:
    """Spark as the task says, with a folder that is gone afterwards. TrainingError for what fails in it."""
    session = spark_session(task.spark, purpose=f"the trainer '{name}'")
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    with tempfile.TemporaryDirectory(dir=task.folder, prefix="spark-") as folder:
        try:
            yield SparkRows(session, Path(folder))
        except (Py4JJavaError, PySparkException) as error:
            said = said_by(error)
            hint = "Give Spark more: spark.driver.memory and spark.executor.memory in its spark-defaults.conf."
            raise TrainingError(
                f"the trainer '{name}' failed in Spark: {said}", hint=hint if "OutOfMemory" in said else ""
            ) from error


def check_task(train: Part, task: Task, name: str) -> None:
    """TrainingError for what no trainer of MLlib learns."""
    if task.start:
        raise TrainingError(f"the trainer '{name}' cannot go on from another version")
    refuse_missing(train, task, f"the trainer '{name}'", hint="transforms=(carrara.Impute(),)")


def classes_in(task: Task) -> int:
    """How many classes there are, 0 of a number."""
    return 0 if task.kind == "regression" else len(task.classes) or 2


def asked(model: Any, rows: Array, task: Task, name: str) -> Array:
    """What a model of Spark says of rows, in the shape of the kind's output."""
    with on_spark(task, name) as spark:
        if task.kind == "regression":
            return spark.answers(model, rows, "prediction")
        said = spark.answers(model, rows, "probability")
    return said[:, 1] if task.kind == "binary" else said
