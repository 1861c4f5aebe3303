"""Fits a model: its transforms and its trainer on the train part, the export, and the proof of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import NotFoundError, TrainingError
from carrara.data.rows import Rows, batches
from carrara.evaluation import binary
from carrara.evaluation.metrics import Kind
from carrara.evaluation.ranked import RankedRows
from carrara.models.runtimes.base import TRANSFORMS
from carrara.models.signature import Signature, TensorSpec
from carrara.training.analyzers.spans import Analyses
from carrara.training.checkpoints import Checkpoint, NoCheckpoint
from carrara.training.cluster.supervisor import fit_together
from carrara.training.inputs import Inputs, fit_inputs
from carrara.training.labels import classes_of, encoded, queries
from carrara.training.model import Model
from carrara.training.out_of_fold import scores_of_folds
from carrara.training.proof import Exported, exported, proved_whole
from carrara.training.stages import Stage
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Fitted, Part, Task
from carrara.training.transforms.graph import joined

_ALMOST = 0.999
"""The area, or the correlation, at which one feature tells the label almost alone."""

_LOOKED_AT = 10_000
"""How many rows of the train part are enough to see that."""


@dataclass(frozen=True)
class FittedModel:
    """A model's artifact, the signature of its own inputs (one tensor per feature), and what there is to tell of it.

    `files` are opened by the runtime called `format`. `importance` is each feature's share, `warnings` what a person
    should look at.
    """

    format: str
    files: Mapping[str, bytes]
    learned: Mapping[str, bytes]
    signature: Signature
    classes: tuple[str, ...]
    importance: Mapping[str, float]
    curve: Mapping[str, list[float]]
    summary: Mapping[str, Any]
    export: Mapping[str, Any]
    libraries: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Former:
    """What a version that is gone on from has fixed: how its matrix is made, and its classes."""

    inputs: Inputs
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """What a trainer is given, however often: the parts as matrices, and the task; `rows` are those of the validation
    part as they came."""

    inputs: Inputs
    train: Part
    validation: Part
    task: Task
    warnings: tuple[str, ...]
    rows: Rows


def prepare(
    model: Model,
    features: tuple[str, ...],
    parts: Mapping[str, Rows],
    advance: Callable[[int, int], None] = lambda done, total: None,
    checkpoint: Checkpoint | None = None,
    folder: Path | None = None,
    former: Former | None = None,
    stages: tuple[Stage, ...] = (),
    analyses: Analyses | None = None,
) -> Prepared:
    """Fit the transforms, unless they are a `former` version's, and make the matrices, large ones in files in `folder`;
    `analyses` are the days of the rows whose part in the fit is kept.

    TrainingError names what cannot be learned.
    """
    names = ("train", "validation")
    scores = {name: scores_of_folds(stages, parts[name], model.label.time) for name in names}
    if former is not None:
        inputs, classes = former.inputs, former.classes
    else:
        classes = classes_of(model.label, parts["train"], f"the train part of '{model.name}'")
        inputs = fit_inputs(features, model.transforms, parts["train"], stages, scores["train"], analyses)
    made = {name: _part(model, inputs, classes, parts[name], name, folder, scores[name]) for name in names}
    if model.class_weights is not None:
        by_class = class_weights(model.class_weights, made["train"], classes or ("False", "True"))
        made = {name: _weighed(part, by_class) for name, part in made.items()}
    task = Task(model.label.kind, inputs.names, classes, inputs.categories, model.seed, advance)
    task = replace(task, checkpoint=checkpoint or NoCheckpoint(), folder=folder, shapes=inputs.shapes)
    said = _checked(model, inputs, made["train"])
    return Prepared(inputs, made["train"], made["validation"], task, said, parts["validation"])


def fit_model(
    model: Model,
    features: tuple[str, ...],
    parts: Mapping[str, Rows],
    advance: Callable[[int, int], None] = lambda done, total: None,
    checkpoint: Checkpoint | None = None,
) -> FittedModel:
    """Fit on the train part and stop by the validation part, from the checkpoint where there is one.

    TrainingError names what cannot be learned.
    """
    return fit_prepared(model, prepare(model, features, parts, advance, checkpoint))


def fit_prepared(model: Model, prepared: Prepared) -> FittedModel:
    """Fit, by several processes where the task says so, export, and prove."""
    train, validation, task = prepared.train, prepared.validation, prepared.task
    if not task.team.is_alone:
        task = fit_together(model.trainer, train, validation, task)
    fitted = model.trainer.fit(train, validation, task)
    return _artifact(model, prepared, fitted)


def _artifact(model: Model, prepared: Prepared, fitted: Fitted) -> FittedModel:
    kind, inputs, classes = model.label.kind, prepared.inputs, prepared.task.classes or fitted.classes
    shape = (None, len(classes)) if classes else (None,)
    signature = Signature(inputs.features, (TensorSpec(OUTPUTS[kind], "float32", shape), *fitted.outputs))
    export = _exported(fitted, kind, prepared, signature)
    summary = {**fitted.summary, "columns": len(inputs.names)}
    return FittedModel(
        format=export.format,
        files=export.files,
        learned={**fitted.learned, **inputs.files()},
        signature=signature,
        classes=classes,
        importance=inputs.importance(fitted.importance),
        curve=fitted.curve,
        summary={**summary, "classes": list(classes)} if classes else summary,
        export=export.proof,
        libraries=fitted.libraries,
        warnings=prepared.warnings,
    )


def _exported(fitted: Fitted, kind: Kind, prepared: Prepared, signature: Signature) -> Exported:
    """What is kept, and its proof; the transforms are in it, or beside it."""
    inputs = prepared.inputs
    if fitted.to_whole is not None:
        files = fitted.to_whole(inputs.features, inputs.graph)
        rows = next(iter(batches(prepared.rows, [spec.name for spec in inputs.features])))
        return proved_whole(fitted, kind, files, signature, rows, prepared.validation.features)
    export = exported(fitted, kind, prepared.validation.features)
    if inputs.graph is None:
        return export
    if export.graph is not None:
        return replace(export, files={"model.onnx": joined(inputs.graph, export.graph, FEATURES)})
    return replace(export, files={**export.files, TRANSFORMS: inputs.graph})


def _part(
    model: Model,
    inputs: Inputs,
    classes: tuple[str, ...],
    rows: Rows,
    name: str,
    folder: Path | None,
    scores: Mapping[str, Array],
) -> Part:
    where = f"the {name} part of '{model.name}'"
    labels = encoded(model.label, rows, classes, where)
    if said := _without_differences(model, labels, classes, rows, name, where):
        raise TrainingError(said, hint="A model learns from differences; move the split's times.")
    weights = None if model.weight is None else _weights(rows[model.weight], where)
    groups = queries(model.label, rows, where)
    return Part(inputs.matrix(rows, folder, scores), labels.astype(np.float32), weights, groups)


def _without_differences(
    model: Model, labels: Array, classes: tuple[str, ...], rows: Rows, name: str, where: str
) -> str:
    """What is wrong with labels that are all the same; of several labels each must differ in the train part."""
    if not len(labels):
        return f"{where} has no rows" if model.label.column else ""
    if model.label.kind == "multilabel":
        same = np.flatnonzero(labels.min(axis=0) == labels.max(axis=0))
        if name != "train" or not len(same):
            return ""
        told = "true" if labels[0, same[0]] else "false"
        return f"the label '{classes[same[0]]}' is {told} in every row of {where}"
    if model.label.column and labels.min() == labels.max():
        return f"every label in {where} is {rows[model.label.columns[0]][0]}"
    return ""


def class_weights(asked: str | Mapping[Any, float], train: Part, classes: tuple[str, ...]) -> Array:
    """How much a row of each class counts, float32 of shape (classes,), by their rows in the train part (as
    scikit-learn's "balanced": all rows over the number of classes times those of the class), or as asked for.

    Raises NotFoundError for a class that is not there.
    """
    if isinstance(asked, str):
        rows = np.bincount(train.labels.astype(np.int64), weights=train.weights, minlength=len(classes))
        return np.asarray(rows.sum() / (len(classes) * np.maximum(rows, np.finfo(np.float32).tiny)), np.float32)
    named = {str(name): weight for name, weight in asked.items()}
    for name in named:
        if name not in classes:
            raise NotFoundError("class", name, classes, where="class_weights")
    return np.array([named.get(name, 1.0) for name in classes], np.float32)


def _weighed(part: Part, by_class: Array) -> Part:
    weights = by_class[part.labels.astype(np.int64)]
    return replace(part, weights=weights if part.weights is None else weights * part.weights)


def _weights(values: pl.Series, where: str) -> Array:
    if not values.dtype.is_numeric():
        raise TrainingError(f"the weights in '{values.name}' of {where} are no numbers")
    weights = values.cast(pl.Float32).fill_null(float("nan")).to_numpy(writable=True)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise TrainingError(f"the weights in '{values.name}' of {where} must be numbers of at least 0, and not all 0")
    return weights


def _checked(model: Model, inputs: Inputs, train: Part) -> tuple[str, ...]:
    """What a person should look at; TrainingError for a feature that is the label."""
    said, step = [], max(1, len(train.labels) // _LOOKED_AT)
    for place, name in enumerate(inputs.names):
        values = train.features[:, place]
        if any(
            np.array_equal(values[::step], labels[::step]) and np.array_equal(values, labels)
            for labels in (train.labels.T if train.labels.ndim == 2 else (train.labels,))
        ):
            raise TrainingError(
                f"the feature '{name}' is the label itself", hint="It is not known when a prediction is asked for."
            )
        alone = _alone(model, values[::step], train.labels[::step])
        if alone is not None and alone >= _ALMOST:
            said.append(f"'{name}' tells the label almost alone ({alone:.4f}): was it known at the label's time?")
    return tuple(said)


def _alone(model: Model, values: Array, labels: Array) -> float | None:
    """How much a column tells alone: of a binary label the area under the curve, of a number the correlation."""
    if model.label.kind in ("multiclass", "multilabel"):
        return None
    known = ~np.isnan(values)
    values, labels = values[known], labels[known]
    if len(values) < 2 or values.min() == values.max() or labels.min() == labels.max():
        return None
    if model.label.kind in ("regression", "ranking"):
        return float(abs(np.corrcoef(values, labels)[0, 1]))
    order = np.argsort(-values, kind="stable")
    ranked = RankedRows(labels[order].astype(float), values[order].astype(float))
    area = float(binary.roc_auc(ranked, np.ones(len(values))))
    return max(area, 1 - area)
