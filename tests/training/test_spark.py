"""Trainers of Spark MLlib: what they learn is read back, and served without a JVM, equal to Spark's own answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from test_trainers import PARTS, fit, quality, scores

from carrara.core.config import EngineSection
from carrara.core.errors import ConfigurationError, TrainingError
from carrara.core.spark import spark_session
from carrara.models.learned.forest import read_forest
from carrara.models.learned.linear import read_linear
from carrara.models.runtimes.base import TRANSFORMS
from carrara.models.runtimes.onnx import session
from carrara.pipelines.trees import matrix_of
from carrara.training.trainers.forest_graph import forest_graph
from carrara.training.trainers.spark_linear import SparkLinear
from carrara.training.trainers.spark_trees import SparkBoosted, SparkForest
from carrara.training.trainers.trees import float32_at_most
from carrara.training.transforms.numbers import Impute
from carrara.workspace.workspace import Workspace

FOREST, BOOSTED = SparkForest(trees=4, depth=5, buckets=32), SparkBoosted(trees=12, depth=3, learning_rate=0.3)

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs a JVM")


@pytest.fixture(scope="session")
def spark():
    """The one session of this process, at the master that the tests of the engine name."""
    return spark_session("local[2]", purpose="a test")


def matrix(made):
    return matrix_of(made.signature, made.learned.get(TRANSFORMS), PARTS["test"])


def proved(made):
    assert made.format == "onnx"
    assert made.export["equal"]
    assert sum(made.importance.values()) == pytest.approx(1)


@needs_java
@pytest.mark.slow
@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(
    ("trainer", "kind"),
    [
        (SparkLinear(), "binary"),
        (SparkLinear(), "multiclass"),
        (SparkLinear(l1_share=0.5), "regression"),
        (FOREST, "binary"),
        (FOREST, "multiclass"),
        (FOREST, "regression"),
        (BOOSTED, "binary"),
        (BOOSTED, "regression"),
    ],
    ids=lambda one: getattr(one, "name", one),
)
def test_what_spark_has_learned_is_read_back_and_served_without_it(tmp_path, trainer, kind):
    made = fit(kind, trainer)
    proved(made)
    found = scores(made, tmp_path)
    assert quality(kind, found, made) > {"binary": 0.9, "multiclass": 0.7, "regression": 0.7}[kind]
    if trainer.name == "spark_linear":
        model = read_linear(made.learned)
        assert model.coefficients.shape == (3 if kind == "multiclass" else 1, len(model.columns))
        return
    # The export was compared on the rows of the validation part and on three for each threshold.
    assert made.export["rows"] > PARTS["validation"].height
    forest = read_forest(made.learned)
    answers = forest.answers(forest.margins(matrix(made)))
    np.testing.assert_allclose(answers if kind == "multiclass" else answers[:, 0], found, rtol=1e-4, atol=1e-6)
    assert made.summary["trees"] == (4 if trainer is FOREST else len(made.curve["validation"]))
    assert made.summary["leaves"] == sum(tree.leaves for tree in forest.trees) / (3 if kind == "multiclass" else 1)


@needs_java
@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_equal_inputs_make_equal_forests_and_weights_and_seeds_count():
    made = [fit("binary", SparkForest(trees=2, depth=3), weight=weight) for weight in (None, None, "weight")]
    assert made[0].files == made[1].files
    assert made[0].files != made[2].files


def tree(weight: float, left: float, right: float, stats: list[list[float]]) -> dict:
    """A split of column 1 at 0.5, as a trainer of Spark keeps it."""
    return {
        "weight": weight,
        "prediction": [0.0, left, right],
        "impurityStats": stats,
        "rawCount": [10, 6, 4],
        "gain": [0.2, -1.0, -1.0],
        "leftChild": [1, -1, -1],
        "rightChild": [2, -1, -1],
        "column": [1, -1, -1],
        "threshold": [0.5, 0.0, 0.0],
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The mean of what the trees say; a share of the second class; the sum of weighted trees, whose margin is half
        # the logarithm of the odds.
        ("RandomForestRegressionModel", [1.0, 3.0, 3.0]),
        ("RandomForestClassificationModel", [0.25, 0.75, 0.75]),
        ("GBTRegressionModel", [1.5, 4.5, 4.5]),
        ("GBTClassificationModel", [1 / (1 + np.exp(-3.0)), 1 / (1 + np.exp(-9.0)), 1 / (1 + np.exp(-9.0))]),
    ],
)
def test_a_row_at_a_threshold_goes_left_and_nan_goes_right(name, expected):
    stats = [[5.0, 5.0], [4.5, 1.5], [1.0, 3.0]]
    saved = {"spark": name, "trees": [tree(1.0, 1.0, 3.0, stats), tree(0.5, 1.0, 3.0, stats)]}
    forest = read_forest({"learned.json": msgspec.json.encode(saved)})
    rows = np.array([[9.0, 0.5], [9.0, np.nextafter(np.float32(0.5), np.float32(1))], [9.0, np.nan]], np.float32)
    np.testing.assert_allclose(forest.answers(forest.margins(rows))[:, 0], expected)
    (graph_said,) = session(forest_graph(forest, "regression", 2)).run(None, {"features": rows})
    np.testing.assert_allclose(graph_said, expected, rtol=1e-6)


def test_a_threshold_of_float64_asks_the_same_of_float32():
    exact = np.array([0.1, -0.1, 0.5, 1 / 3, 16_777_217.0, 1e-46])
    near = float32_at_most(exact).astype(np.float32)
    for values in (near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))):
        np.testing.assert_array_equal(values <= near, values.astype(np.float64) <= exact)


def test_what_spark_cannot_learn_is_said():
    with pytest.raises(TrainingError, match=r"(?s)spark_linear' takes no missing numbers.*in: v:a.*Impute"):
        fit("binary", SparkLinear(), transforms=(), features=("v:a", "v:b"))


@needs_java
@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_what_fails_in_spark_is_said_in_a_line():
    with pytest.raises(TrainingError, match=r"spark_boosted' failed in Spark: .*maxBins given invalid value 1"):
        fit("binary", SparkBoosted(trees=1, buckets=1), transforms=(Impute(),), features=("v:a", "v:b"))


def test_the_master_is_that_of_the_workspace():
    assert EngineSection().spark == ""
    assert EngineSection(features="spark:local[2]").spark == "local[2]"
    assert EngineSection(features="spark:local[2]", training="spark://host:7077").spark == "spark://host:7077"


@needs_java
@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_there_is_one_session_in_a_process():
    with pytest.raises(ConfigurationError, match=r"(?s)at local\[3\], and this process has a session at local\[2\]"):
        spark_session("local[3]", purpose="the trainer 'spark_forest'")


@needs_java
@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_a_model_is_trained_on_the_spark_of_its_workspace_and_built_again(fresh):
    path = fresh.root / "definitions.py"
    text = path.read_text()
    trainer = text[text.index("trainer=carrara.") :].partition("\n")[0]
    path.write_text(
        text.replace(trainer, "trainer=carrara.SparkForest(trees=5, depth=4), transforms=(carrara.Impute(),),")
    )
    with (fresh.root / "carrara.toml").open("a") as file:
        file.write('[engine]\ntraining = "spark:local[2]"\n')
    with Workspace(fresh.root) as workspace:
        workspace.train("late")
        assert workspace.models.record("late@1")["summary"]["libraries"]
        assert workspace.models.reproduce("late@1").equal
        assert workspace.train("late").reused
        with pytest.raises(TrainingError, match="runs in one process"):
            workspace.train("late", workers=2)
        assert workspace.models.parameters("late@1")["trees"] == 5


@pytest.mark.slow
def test_without_java_it_says_what_to_install():
    code = "from carrara.core.spark import spark_session; spark_session('', purpose='the trainer')"
    environment = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"} | {"PATH": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "Spark needs Java 17 or later" in done.stderr
