"""Evaluates a registered version again: on its test rows or on those of another time, as a configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from carrara.core.columns import require_column
from carrara.core.errors import CarraraError, DataError
from carrara.data.rows import Rows, split_table
from carrara.data.versions import read_dataset
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import judge_gates
from carrara.evaluation.losses import LOSS_OF
from carrara.evaluation.readiness_gates import FeaturesValidated
from carrara.evaluation.trial import Trial
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import join_features, read_training_set
from carrara.models.address import BLESSED, ModelAddress, parse_address
from carrara.models.registry import ModelVersion, champion, find_blessed, opened, read_record, resolve
from carrara.pipelines.counterfactual import flips_of_gates
from carrara.pipelines.evaluate_step import evaluated, overlap_of
from carrara.pipelines.evaluation_config import EvaluationConfig
from carrara.pipelines.judge_step import Paired, differences_to, gather
from carrara.pipelines.judged_columns import check_swaps
from carrara.pipelines.mistakes import mistaken_rows
from carrara.pipelines.readiness import features_seen
from carrara.pipelines.record import overlap_warnings
from carrara.pipelines.scoring import recorded_model, scores_of
from carrara.storage.stores import Stores
from carrara.training.labels import encoded, queries
from carrara.training.model import Model


@dataclass(frozen=True)
class VersionEvaluation:
    """What a version came to on `rows`; `baseline` is what gates on the champion were held against."""

    version: str
    rows: Mapping[str, Any]
    configuration: Mapping[str, Any]
    evaluation: Evaluation
    mistakes: Sequence[Mapping[str, Any]]
    loss: str | None
    gates: Mapping[str, Any]
    baseline: str | None
    warnings: tuple[str, ...]

    @property
    def blessed(self) -> bool:
        """Whether all gates passed."""
        return bool(self.gates["passed"])

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "evaluation": self.evaluation.as_dict(), "blessed": self.blessed}

    def as_record(self) -> dict[str, Any]:
        """As the part of a model record that a report shows."""
        model, _, number = self.version.partition("@")
        found = self.evaluation.as_dict()
        parts = ("baseline", "slices", "weak_slices", "fairness", "segments")
        return {
            "model": model,
            "version": int(number),
            "metrics": {
                "test": found["metrics"],
                **{part: found[part] for part in parts},
                "mistakes": self.mistakes,
                "loss": self.loss,
            },
            "charts": found["charts"],
            "gates": self.gates,
            "summary": {"warnings": list(self.warnings)},
            "evaluated": {**self.rows, "beside": self.baseline},
            "configuration": dict(self.configuration),
        }


def evaluate_version(stores: Stores, config: EvaluationConfig) -> VersionEvaluation:
    """Measure and judge a version as a training would have; nothing is registered.

    DataError where there are no rows, ColumnMissing, DefinitionError for slices of what the rows do not have.
    """
    version = resolve(stores, config.model)
    recorded, service = recorded_model(stores, version)
    record, model = read_record(stores, version), config.applied(recorded)
    parts = _parts(stores, version, model, service, record, config)
    rows, where = parts["test"], f"the rows that {version} is evaluated on"
    _check(model, rows, where)
    check_swaps(model, service)
    classes = tuple(record["parameters"].get("classes", ()))
    labels = {name: encoded(model.label, part, classes, where) for name, part in parts.items()}
    with opened(stores, version) as servable:
        scores = scores_of(servable, rows)
        flips = flips_of_gates(servable, model, rows)
    groups = queries(model.label, rows, where)
    evaluation = evaluated(model, service, parts, labels, scores, groups, classes)
    baseline = _baseline(stores, version, config)
    # Whether it is safe to serve is known since it was registered.
    recorded_trial = record["gates"].get("trial")
    trial = Trial.from_dict(recorded_trial) if recorded_trial is not None else None

    def beside(other: ModelVersion) -> Paired:
        return differences_to(stores, other, model, rows, labels["test"], scores, classes)

    looked = any(isinstance(gate, FeaturesValidated) for gate in model.gates)
    seen = features_seen(service, parts) if looked else None
    found = Evidence(evaluation, trial=trial, flips=flips, features=seen)
    gathered = gather(stores, model, service, found, baseline, beside)
    return VersionEvaluation(
        version=str(version),
        rows=_told(model, rows, config),
        configuration={**model.spec(), "threshold": model.threshold},
        evaluation=evaluation,
        mistakes=mistaken_rows(
            stores,
            model,
            service,
            rows,
            labels["test"],
            scores,
            classes=classes,
            importance={one["name"]: one["importance"] for one in record["features"]},
        ),
        loss=LOSS_OF.get(model.label.kind),
        gates={**judge_gates(model.gates, gathered.evidence), "unasked": gathered.unasked},
        baseline=str(baseline) if baseline is not None else None,
        warnings=tuple(overlap_warnings(overlap_of(model, service, parts))) if "train" in parts else (),
    )


def _parts(
    stores: Stores,
    version: ModelVersion,
    model: Model,
    service: ResolvedFeatures,
    record: Mapping[str, Any],
    config: EvaluationConfig,
) -> dict[str, Rows]:
    """The rows to evaluate on as `test`, and those that the version was trained on where they are known."""
    found: dict[str, Rows] = {}
    if record["datasets"]["training_set"] is not None:
        _, table = read_training_set(stores, version.model, record["datasets"]["training_set"]["version"])
        parts = split_table(table, model.split, time=model.label.time, known_at=model.label.known_at)
        found = {"train": parts["train"], "test": parts["test"]}
    if config.since is not None or config.until is not None:
        return {**found, "test": _rows_of_time(stores, version, model, service, config)}
    if "test" not in found:
        raise CarraraError(
            f"{version} was imported, and no test rows of it are known", hint="Name a time: --since 2026-03-01."
        )
    return found


def _rows_of_time(
    stores: Stores, version: ModelVersion, model: Model, service: ResolvedFeatures, config: EvaluationConfig
) -> pl.DataFrame:
    """The labelled rows of a time in the newest version of the label's dataset, with the features known at each."""
    label, where = model.label, f"dataset '{model.label.dataset}'"
    rows = read_dataset(stores, label.dataset)
    schema = rows.collect_schema()
    for name in (label.time, *label.columns):
        require_column(schema, name, where)
    time = pl.col(label.time)
    wanted = [time.is_not_null(), *(pl.col(name).is_not_null() for name in label.columns)]
    wanted += [time >= config.since] if config.since is not None else []
    wanted += [time < config.until] if config.until is not None else []
    frame = rows.filter(wanted).sort(label.time).collect()
    if frame.is_empty():
        raise DataError(f"{where} has no labelled rows {_span(config)}", hint=f"carrara dataset ingest {label.dataset}")
    features = join_features(stores, service, frame, label.time, where=f"the rows that {version} is evaluated on")
    return pl.concat([frame.drop(features.columns, strict=False), features], how="horizontal")


def _check(model: Model, rows: Rows, where: str) -> None:
    model.slicing.check(rows.schema, where)
    for name in model.slicing.reads:
        require_column(rows.schema, name, where)
    if model.metric_weight is not None:
        require_column(rows.schema, model.metric_weight, where)


def _baseline(stores: Stores, version: ModelVersion, config: EvaluationConfig) -> ModelVersion | None:
    """What gates on the champion look at; of a model of which no version may live yet, that is none."""
    wanted = parse_address(config.baseline) if config.baseline else None
    if wanted is None:
        found = champion(stores, version.model)
    elif wanted == ModelAddress(version.model, alias=BLESSED):
        found = find_blessed(stores, version.model, beside=version.version)
    else:
        found = resolve(stores, wanted)
    return None if found is None or str(found) == str(version) else found


def _told(model: Model, rows: Rows, config: EvaluationConfig) -> dict[str, Any]:
    """Which rows they were."""
    times = rows[model.label.time]
    return {
        "dataset": model.label.dataset,
        "part": "test" if config.since is None and config.until is None else "of a time",
        "rows": rows.height,
        "from": str(times.min()),
        "to": str(times.max()),
    }


def _span(config: EvaluationConfig) -> str:
    ends: list[tuple[str, datetime | None]] = [("since", config.since), ("until", config.until)]
    return " ".join(f"{word} {moment:%Y-%m-%d %H:%M}" for word, moment in ends if moment is not None)
