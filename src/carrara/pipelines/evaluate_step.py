"""The step of a training that judges: the exported artifact, opened as it will be served, on the test part."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.core.digests import digest_data
from carrara.core.progress import Step
from carrara.data.rows import Rows
from carrara.evaluation.baseline import RateBaseline
from carrara.evaluation.evaluate import Evaluation, evaluate
from carrara.evaluation.metrics import measure
from carrara.evaluation.overlap import overlap
from carrara.evaluation.slicing import SlicedColumns, Slicing
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import TrainingSet
from carrara.models.runtimes.base import Servable, open_servable
from carrara.models.signature import Signature
from carrara.monitoring.drift import ReferenceDistribution, one_score
from carrara.pipelines.explain import explained
from carrara.pipelines.forecasts import forecast_charts
from carrara.pipelines.mistakes import mistaken_rows, personal_columns
from carrara.pipelines.scores import judgeable
from carrara.pipelines.scoring import scores_of
from carrara.pipelines.steps import TrainingWork, remembered
from carrara.storage.stores import Stores
from carrara.training.labels import encoded, queries
from carrara.training.model import Model
from carrara.training.trainers.imported import Imported

_MOST_SEARCHED = 1_000_000
"""Among how many test rows weak slices are searched: their features are held in memory."""


def evaluate_step(
    work: TrainingWork,
    training_set: TrainingSet,
    fitted: Mapping[str, Any],
    given: Mapping[str, Rows],
    step: Step,
) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation, and all of what was measured as plain data."""
    model, stores = work.model, work.stores

    def judge() -> dict[str, Any]:
        parts = judgeable(given, model, work.stages)
        classes, where = tuple(fitted["classes"]), f"part of '{model.name}'"
        # A stage may have learned from all of the validation part.
        scored = [name for name in ("validation", "test") if parts[name].height]
        asked_of = parts if model.baseline else scored
        labels = {name: compact(encoded(model.label, parts[name], classes, f"the {name} {where}")) for name in asked_of}
        groups = {name: queries(model.label, parts[name], f"the {name} {where}") for name in scored}
        with closing(open_fitted(stores, fitted)) as servable:
            scores = {name: scores_of(servable, parts[name]) for name in scored}
            explanations = explained(stores, model, servable, fitted, parts["test"], labels["test"], groups["test"])
        evaluation = evaluated(model, work.service, parts, labels, scores["test"], groups["test"], classes)
        wrong = mistaken_rows(
            stores,
            model,
            work.service,
            parts["test"],
            labels["test"],
            scores["test"],
            classes=classes,
            importance=fitted["importance"],
        )
        validation = {}
        if "validation" in scored:
            validation = measure(
                labels["validation"],
                scores["validation"],
                model.measured,
                kind=model.label.kind,
                threshold=model.threshold,
                weights=metric_weights(model, parts["validation"]),
                groups=groups["validation"],
                intervals=model.intervals,
            )
        result = {
            "evaluation": evaluation.as_dict(),
            "validation": {name: value.as_dict() for name, value in validation.items()},
            "explanations": explanations,
            "mistakes": wrong,
            "overlap": overlap_of(model, work.service, parts),
            "scores": ReferenceDistribution.from_values(one_score(scores["test"])).as_dict(),
        }
        return {"result": stores.artifacts.put(msgspec.json.encode(result))}

    asked = ("label", "split", "metrics", "metric_weight", "slices", "baseline", "threshold", "seed")
    spec = {name: value for name, value in model.spec().items() if name in (*asked, "intervals")}
    personal = sorted(personal_columns(stores, model, work.service))
    key = digest_data(["evaluate 5", training_set.digest, fitted["servable"], fitted["signature"], spec, personal])
    outputs = remembered(stores, work.run_id, step, key, judge)
    result = msgspec.json.decode(stores.artifacts.get(outputs["result"], name="evaluation"))
    return Evaluation.from_dict(result["evaluation"]), result


def evaluated(
    model: Model,
    service: ResolvedFeatures,
    parts: Mapping[str, Rows],
    labels: Mapping[str, Any],
    scores: Any,
    groups: Any,
    classes: tuple[str, ...],
) -> Evaluation:
    """The scores of the test part, measured as a model's definition says; a baseline learns from the train part."""
    rows = parts["test"]
    step_of_rows, has_baseline = max(1, rows.height // _MOST_SEARCHED), bool(model.baseline) and "train" in parts
    found = evaluate(
        labels["test"],
        scores,
        kind=model.label.kind,
        classes=classes,
        metrics=model.measured,
        slice_columns=model.slicing.cells(rows),
        crosses=model.slicing.crosses,
        searched_columns=_searched(model, service, rows, step_of_rows),
        searched_step=step_of_rows,
        baseline_scores=_baseline_scores(model, parts, labels, classes) if has_baseline else None,
        threshold=model.threshold,
        weights=metric_weights(model, rows),
        groups=groups,
        seed=model.seed,
        intervals=model.intervals,
    )
    over_time = forecast_charts(model, service.keys, rows, labels["test"], scores)
    return replace(found, charts={**over_time, **found.charts})


def overlap_of(model: Model, service: ResolvedFeatures, parts: Mapping[str, Rows]) -> dict[str, Any]:
    """Which of the test rows the model has seen in training."""
    if isinstance(model.trainer, Imported):  # it has learned from rows that nobody here knows
        return {"rows": 0, "share": 0.0, "repeated": 0.0, "suspicious": False}
    return overlap(parts["train"], parts["test"], [*service.features, *_comparable(model, parts["test"])])


def metric_weights(model: Model, rows: Rows) -> Any:
    """How much each row counts in the metrics, None where all count alike."""
    if model.metric_weight is None:
        return None
    return rows[model.metric_weight].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def open_fitted(stores: Stores, fitted: Mapping[str, Any]) -> Servable:
    """The exported artifact, from the store: what is measured is what will be served."""
    with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
        stores.artifacts.unpack(fitted["servable"], Path(folder))
        return open_servable(fitted["format"], Path(folder), Signature.from_dict(fitted["signature"]))


def compact(labels: Any) -> Any:
    """Labels in a byte each where they are small whole numbers: of many rows, an eighth."""
    if not (labels.min(initial=0) >= 0 and labels.max(initial=0) < 128):
        return labels
    found = labels.astype(np.int8)
    return found if np.array_equal(found, labels) else labels


def _comparable(model: Model, rows: Rows) -> tuple[str, ...]:
    """The columns of the label that rows can be told by; lists are none."""
    return tuple(name for name in model.label.columns if not rows.schema[name].is_nested())


def _searched(model: Model, service: ResolvedFeatures, rows: Rows, step: int) -> SlicedColumns:
    """The features and the slices of every `step`-th row, each read when it is looked at; an array is no value that a
    slice could have."""
    features = tuple(name for name in service.features if not rows.schema[name].is_nested())
    return (Slicing(features) | model.slicing).cells(rows.gather_every(step))


def _baseline_scores(
    model: Model, parts: Mapping[str, Rows], labels: Mapping[str, Any], classes: tuple[str, ...]
) -> Any:
    columns = {part: {name: parts[part][name].to_numpy() for name in model.baseline} for part in ("train", "test")}
    if not classes:
        return RateBaseline.fit(columns["train"], labels["train"]).score(columns["test"])
    if labels["train"].ndim == 2:
        one_each = list(labels["train"].T)
    else:
        one_each = [labels["train"] == place for place in range(len(classes))]
    return np.column_stack([RateBaseline.fit(columns["train"], one).score(columns["test"]) for one in one_each])
