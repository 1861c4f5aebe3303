"""Any estimator or pipeline of scikit-learn that converts to ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np

from carrara.core.errors import DefinitionError, TrainingError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.training.onnx_graphs import OPSET, with_output
from carrara.training.trainers.base import FEATURES, Array, Fitted, Part, Task


@dataclass(frozen=True)
class Sklearn:
    """An estimator of scikit-learn: a classifier with `predict_proba`, or a regressor; a clone of it is fitted.

    No pickle is kept, so that only what converts to ONNX, and is equal there, becomes a model. What has a
    `random_state` gets the model's seed where it has none.
    """

    estimator: Any

    name = "sklearn"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression", "multilabel")

    def __post_init__(self) -> None:
        if not (hasattr(self.estimator, "fit") and hasattr(self.estimator, "get_params")):
            raise DefinitionError(
                f"Sklearn({self.estimator!r}) is no estimator",
                hint="e.g. Sklearn(RandomForestClassifier(200))",
            )

    def with_parameters(self, **parameters: Any) -> Sklearn:
        """The same estimator with other parameters, by scikit-learn's names (`step__name` in a pipeline)."""
        from sklearn.base import clone

        try:
            return Sklearn(clone(self.estimator).set_params(**parameters))
        except ValueError as error:
            raise DefinitionError(f"{type(self.estimator).__name__}: {error}") from None

    def spec(self) -> dict[str, Any]:
        return {"estimator": _described(self.estimator)}

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        require("sklearn", extra="sklearn", purpose="the trainer 'sklearn'")
        if task.start:
            raise TrainingError(f"the trainer '{self.name}' cannot go on from another version")
        from sklearn.base import clone

        model = clone(self.estimator)
        free = [name for name, value in model.get_params().items() if name.endswith("random_state") and value is None]
        model.set_params(**dict.fromkeys(free, task.seed))
        # A pipeline hands on what is named after one of its steps.
        weighed = f"{model.steps[-1][0]}__sample_weight" if hasattr(model, "steps") else "sample_weight"
        given = {} if train.weights is None else {weighed: train.weights}
        labels = train.labels if task.kind == "regression" else train.labels.astype(np.int64)
        try:
            model.fit(train.features, labels, **given)
        except (ValueError, TypeError) as error:
            raise TrainingError(
                f"{type(model).__name__} refused the training set: {str(error).strip().partition(chr(10))[0]}",
                hint="Where it takes no missing numbers: transforms=(carrara.Impute(),)",
            ) from error
        if task.kind != "regression" and not hasattr(model, "predict_proba"):
            raise TrainingError(f"{type(model).__name__} gives no probabilities", hint="Choose one with predict_proba.")
        task.advance(1, 1)
        return fitted_estimator(model, task)


def fitted_estimator(model: Any, task: Task) -> Fitted:
    """What a fitted estimator gives."""
    return Fitted(
        predict=lambda rows: _predict(model, rows, task),
        to_onnx=lambda: _graph(model, task),
        learned={"learned.json": msgspec.json.encode(_learned(model))},
        importance=_importance(model, task.names),
        summary={"estimator": type(model).__name__},
        libraries=("scikit-learn", "skl2onnx", "onnx"),
    )


def _predict(model: Any, rows: Array, task: Task) -> Array:
    if task.kind == "regression":
        return np.asarray(model.predict(rows)).reshape(len(rows))
    found = model.predict_proba(rows)
    if isinstance(found, list):
        # Forests and MultiOutputClassifier give two columns for each label.
        return np.column_stack([label[:, 1] for label in found])
    scores = np.asarray(found)
    return scores[:, 1] if task.kind == "binary" else scores


def _graph(model: Any, task: Task) -> bytes:
    skl2onnx = require("skl2onnx", extra="sklearn", purpose="the export to ONNX")
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.preprocessing import StandardScaler

    options: dict[Any, Any] = {}
    if task.kind != "regression":
        options[id(model)] = {"zipmap": False}
    for part in _parts(model):
        if isinstance(part, StandardScaler):
            # Times 1/scale in float32 is another number than a division, and flips splits of trees behind it.
            options[id(part)] = {"div": "div"}
    types = [(FEATURES, FloatTensorType([None, len(task.names)]))]
    converted = skl2onnx.to_onnx(model, initial_types=types, options=options, target_opset=min(OPSET, 18))
    if task.kind == "regression":
        return with_output(converted, task.kind, converted.graph.output[0].name, columns=1)
    source = converted.graph.output[1].name
    if task.kind == "multilabel":
        source = _one_table(converted, model, len(task.names))
    return with_output(converted, task.kind, source, columns=len(task.classes) or 2)


def _one_table(converted: Any, model: Any, columns: int) -> str:
    """The tensor with a column for each label: where an estimator gives two columns for each, the second of each."""
    onnx = require("onnx", extra="sklearn", purpose="the export to ONNX")
    helper, graph = onnx.helper, converted.graph
    output = graph.output[1]
    source: str = output.name
    if not isinstance(model.predict_proba(np.zeros((1, columns), np.float32)), list):
        return source
    if output.type.WhichOneof("value") == "sequence_type":
        graph.node.append(helper.make_node("ConcatFromSequence", [source], ["carrara.stacked"], axis=0, new_axis=1))
        source = "carrara.stacked"
    graph.initializer.append(helper.make_tensor("carrara.true", onnx.TensorProto.INT64, [], [1]))
    graph.node.append(helper.make_node("Gather", [source, "carrara.true"], ["carrara.by_label"], axis=2))
    graph.node.append(helper.make_node("Transpose", ["carrara.by_label"], ["carrara.labels"], perm=[1, 0]))
    return "carrara.labels"


def _parts(model: Any) -> list[Any]:
    return [model, *(value for value in model.get_params(deep=True).values() if hasattr(value, "get_params"))]


def _described(value: Any) -> Any:
    """An estimator with its parameters, as plain data."""
    if hasattr(value, "get_params"):
        parameters = {name: _described(one) for name, one in value.get_params(deep=False).items()}
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}", **parameters}
    if isinstance(value, list | tuple):
        return [_described(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _learned(value: Any) -> Any:
    """What fitting has added to an estimator, by its names, as plain data."""
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype != object else [_learned(one) for one in value.ravel()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_learned(one) for one in value]
    if hasattr(value, "__getstate__") and type(value).__name__ == "Tree":
        state = value.__getstate__()
        return {name: state["nodes"][name].tolist() for name in state["nodes"].dtype.names} | {
            "values": state["values"].tolist()
        }
    if hasattr(value, "get_params"):
        found = {name: _learned(one) for name, one in vars(value).items() if name.endswith("_") and name[0] != "_"}
        steps = {name: _learned(one) for name, one in getattr(value, "steps", [])}
        if hasattr(value, "learning_rate"):
            # Of the parameters this one alone is part of what boosted trees add up to.
            found["learning_rate"] = _learned(value.learning_rate)
        if hasattr(value, "_predictors"):
            found |= _histogram_trees(value)
        return {"class": type(value).__name__, **found, **({"steps": steps} if steps else {})}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _histogram_trees(model: Any) -> dict[str, Any]:
    """The trees of histogram gradient boosting, which it keeps under no public name (scikit-learn 1.9)."""
    trees = [
        {name: tree.nodes[name].tolist() for name in tree.nodes.dtype.names}
        for trees_of_round in model._predictors
        for tree in trees_of_round
    ]
    base = np.ravel(model._baseline_prediction).tolist()
    return {"predictors": trees, "baseline": base, "link": type(model._loss.link).__name__}


def _gains(model: Any, columns: int) -> Array:
    """The gain of all splits by each column, of histogram gradient boosting."""
    found = np.zeros(columns)
    for tree in (tree for trees_of_round in model._predictors for tree in trees_of_round):
        inner = tree.nodes[tree.nodes["is_leaf"] == 0]
        np.add.at(found, inner["feature_idx"], inner["gain"])
    return found


def _importance(model: Any, names: tuple[str, ...]) -> dict[str, float]:
    """By the estimator's own account, or evenly where it gives none."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    sizes = getattr(last, "feature_importances_", None)
    if sizes is None and hasattr(last, "_predictors"):
        sizes = _gains(last, len(names))
    if sizes is None and hasattr(last, "coef_"):
        sizes = np.abs(np.atleast_2d(last.coef_)).mean(axis=0)
    if sizes is None or len(sizes) != len(names) or not float(np.sum(sizes)):
        sizes = np.ones(len(names))
    return {name: float(size) / float(np.sum(sizes)) for name, size in zip(names, sizes, strict=True)}
