"""Train: from a model's definition to a registered version, in steps that a second run need not repeat."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.core.clock import duration, now
from carrara.core.definitions import Definitions
from carrara.core.digests import digest_data
from carrara.core.environment import environment
from carrara.core.errors import TrainingError
from carrara.core.html import html_table
from carrara.core.progress import Progress, Step
from carrara.data import dataset_version
from carrara.evaluation import Evaluation, RateBaseline, evaluate, judge_gates, measure
from carrara.features import ResolvedFeatures, TrainingSet, build_training_set, read_training_set, resolve_features
from carrara.features.offline import current_table
from carrara.features.training_set import training_set_key
from carrara.metadata.run_metrics import LiveMetric
from carrara.metadata.runs import run
from carrara.metadata.trials import add_trial, list_trials
from carrara.models.registry import ModelVersion, champion, learned_files, read_record, register, resolve
from carrara.models.runtimes.base import Servable, open_servable
from carrara.models.signature import Signature
from carrara.monitoring.drift import ReferenceDistribution, one_score
from carrara.pipelines.prepare import compute_features, ingest_for
from carrara.pipelines.record import model_record
from carrara.pipelines.run_log import logged
from carrara.pipelines.steps import remembered
from carrara.storage import Stores
from carrara.training import FittedModel, Model
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.fit import fit_prepared, prepare
from carrara.training.labels import encoded
from carrara.training.partitions import fit_partitioned, inner_features
from carrara.training.proof import said
from carrara.training.tuning import Trial, best_of, search_space, tune, tuned_metric, with_parameters


@dataclass(frozen=True)
class Trained:
    """The version that a training run ended with, and what was measured; `reused` when nothing had changed."""

    version: ModelVersion
    evaluation: Evaluation
    gates: Mapping[str, Any]
    reused: bool

    def _repr_html_(self) -> str:
        baseline = {name: value.value for name, value in self.evaluation.baseline.items()}
        rows = [(name, v.value, v.low, v.high, baseline.get(name)) for name, v in self.evaluation.metrics.items()]
        return html_table(str(self.version), ["metric", "value", "from", "to", "baseline"], rows)


@dataclass(frozen=True)
class _Work:
    """What every step of one training run needs."""

    stores: Stores
    definitions: Definitions
    model: Model
    service: ResolvedFeatures
    run_id: str
    tuned: Mapping[str, Any] | None = None
    start: ModelVersion | None = None
    workers: int = 1


def train(
    stores: Stores,
    definitions: Definitions,
    name: str,
    progress: Progress,
    *,
    trials: int = 0,
    jobs: int = 1,
    start: str | None = None,
    workers: int = 1,
) -> Trained:
    """Train a model as its definition says, evaluate the exported artifact, judge it, and register it.

    With `trials` its hyper-parameters are tuned first, and the best ones taken; trials of the same search that are
    recorded already count. `start` is the address of a version to go on from. `workers` processes
    share the fit, where the trainer can.

    Killed anywhere, the next call goes on from the last step that was complete. A version whose gates fail is
    registered too, and cannot be deployed.
    """
    model = definitions.get("model", name, Model)
    service = resolve_features(definitions, model.features, where=f"model '{name}'")
    if workers > 1 and not getattr(model.trainer, "distributed", False):
        raise TrainingError(
            f"the trainer '{model.trainer.name}' runs in one process, with all its cores",
            hint="Train without --workers.",
        )
    begun = resolve(stores, start) if start else None
    asked = {"definition": model.spec(), "trials": trials, "jobs": jobs, "start": str(begun) if begun else None}
    asked["workers"] = workers
    with run(stores.metadata, "train", name, asked) as run_id, logged(stores, run_id, progress):
        work = _Work(stores, definitions, model, service, run_id, start=begun, workers=workers)
        with progress.step("datasets") as step:
            ingested = ingest_for(stores, definitions, [model.label.dataset, *(v.source for v, _ in service.stored)])
            step.reused = all(one.reused for one in ingested)
            step.said = f"{len(ingested)} datasets, {sum(one.version.rows for one in ingested):,} rows"
        with progress.step("features") as step:
            tables = compute_features(stores, definitions, [view for view, _ in service.stored])
            step.reused = all(table.reused for table in tables)
            step.said = f"{len(tables)} feature views, {sum(table.rows for table in tables):,} rows"
        with progress.step("training set") as step:
            training_set = _training_set(work, step)
            step.said = f"{training_set.rows:,} rows × {len(service.features)} features"
        parts = _parts(work, training_set)
        if trials:
            with progress.step("tune") as step:
                work = _tuned(work, training_set, parts, step, trials, jobs)
        with progress.step("train") as step:
            fitted = _fitted(work, training_set, parts, step)
            step.said = _fit_said(fitted)
        with progress.step("evaluate") as step:
            evaluation, judged = _evaluated(work, training_set, fitted, parts, step)
            step.said = _headline(evaluation)
        with progress.step("register") as step:
            version = _registered(work, training_set, fitted, parts, evaluation, judged, step)
            gates = read_record(stores, version)["gates"]
            passed = sum(result["passed"] for result in gates["results"])
            step.said = f"{version}, {passed} of {len(gates['results'])} gates passed"
    return Trained(version, evaluation, gates, step.reused)


def _training_set(work: _Work, step: Step) -> TrainingSet:
    model, service, stores = work.model, work.service, work.stores
    labels = dataset_version(stores, model.label.dataset)
    tables = {view.name: current_table(stores, view) for view, _ in service.stored}
    keep = carried_columns(model)

    def build() -> dict[str, Any]:
        made = build_training_set(
            stores, model.name, service, labels, time=model.label.time, keep=keep, run_id=work.run_id
        )
        return {"version": made.version}

    key = digest_data(["training set", model.name, training_set_key(service, labels, tables, model.label.time), keep])
    outputs = remembered(stores, work.run_id, step, key, build)
    return read_training_set(stores, model.name, outputs["version"])[0]


def carried_columns(model: Model) -> tuple[str, ...]:
    """The columns of the labels that a training set carries beside keys, times and features."""
    named = (model.label.column, model.label.known_at, model.weight, *model.slices, *model.baseline)
    return tuple(dict.fromkeys(column for column in named if column))


def _parts(work: _Work, training_set: TrainingSet) -> dict[str, pl.DataFrame]:
    rows = work.stores.lake.scan(training_set.lake_table).collect()
    label = work.model.label
    return work.model.split.split(rows, time=label.time, known_at=label.known_at)


def _tuned(
    work: _Work, training_set: TrainingSet, parts: Mapping[str, pl.DataFrame], step: Step, trials: int, jobs: int
) -> _Work:
    """The work with the best hyper-parameters that were found."""
    model, metadata = work.model, work.stores.metadata
    space = {name: one.spec() for name, one in search_space(model).items()}
    (name, more_is_better), libraries = tuned_metric(model), _libraries(environment()["distributions"])
    study = digest_data(["tune", model.name, training_set.digest, _learned_from(model), space, name, libraries])
    done = [
        Trial(one.parameters, one.state, one.value, one.losses, one.error)  # type: ignore[arg-type]
        for one in list_trials(metadata, study=study)
    ]
    step.reused = len(done) >= trials
    if not step.reused:

        def keep(trial: Trial) -> None:
            add_trial(metadata, study, model.name, work.run_id, **{**vars(trial), "parameters": dict(trial.parameters)})

        prepared = prepare(model, inner_features(model, work.service.features), parts)
        tune(model, prepared, trials=trials, jobs=jobs, known=done, keep=keep, advance=step.advance)
        done = [
            Trial(one.parameters, one.state, one.value, one.losses, one.error)  # type: ignore[arg-type]
            for one in list_trials(metadata, study=study)
        ]
    best = best_of(done, more_is_better)
    tuned = {"study": study, "metric": name, "value": best.value, "trials": len(done), "search": space}
    pruned = sum(trial.state == "pruned" for trial in done)
    chosen = ", ".join(f"{key} {_short(value)}" for key, value in best.parameters.items())
    step.said = f"{len(done)} trials, {pruned} given up early; {name} {best.value:.4f} with {chosen}"
    return replace(
        work,
        model=replace(model, trainer=with_parameters(model.trainer, best.parameters)),
        tuned={**tuned, "parameters": dict(best.parameters)},
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _learned_from(model: Model) -> dict[str, Any]:
    """What of a model's definition its fit depends on."""
    spec = model.spec()
    names = ("features", "label", "split", "trainer", "transforms", "weight", "partition_by", "partition_rows", "seed")
    return {name: spec[name] for name in names}


def _fitted(work: _Work, training_set: TrainingSet, parts: Mapping[str, pl.DataFrame], step: Step) -> dict[str, Any]:
    model, stores, installed = work.model, work.stores, environment()["distributions"]
    start = work.start.manifest if work.start is not None else None
    key = digest_data(["train", training_set.digest, _learned_from(model), _libraries(installed), start, work.workers])
    checkpoint = FileCheckpoint(stores.root / ".carrara" / "checkpoints" / key)

    def fit() -> dict[str, Any]:
        started, live = now(), LiveMetric(stores.metadata, work.run_id, "validation loss")
        features = work.service.features
        prepared = prepare(model, inner_features(model, features), parts, step.advance, checkpoint)
        learned = learned_files(stores, work.start) if work.start is not None else {}
        report = _within(model, started, live.add)
        prepared = replace(prepared, task=replace(prepared.task, report=report, start=learned, workers=work.workers))
        try:
            if model.partition_by:
                made = fit_partitioned(model, features, parts, prepared, step.advance)
            else:
                made = fit_prepared(model, prepared)
        finally:
            live.flush()
        return {
            **_described(made),
            "servable": stores.artifacts.put_files(made.files),
            "learned": stores.artifacts.put_files(made.learned),
            "libraries": {name: installed[name] for name in made.libraries if name in installed},
            "workers": work.workers,
            "started_at": started.isoformat(),
            "ended_at": now().isoformat(),
            "environment": environment(),
        }

    fitted = remembered(stores, work.run_id, step, key, fit)
    checkpoint.clear()
    return fitted


def _within(model: Model, started: datetime, report: Callable[[int, float], None]) -> Callable[[int, float], None]:
    """`report`, until the model's time limit is over."""
    if model.time_limit is None:
        return report
    deadline = started + duration(model.time_limit)

    def checked(number: int, loss: float) -> None:
        report(number, loss)
        if now() > deadline:
            raise TrainingError(
                f"the fit of '{model.name}' took longer than its time limit of {model.time_limit}: {number:,} rounds",
                hint="A net goes on from here when it is trained again; or raise time_limit.",
            )

    return checked


def _libraries(installed: Mapping[str, str]) -> dict[str, str]:
    """The versions that a fitted model may depend on."""
    trees = ("xgboost", "xgboost-cpu", "lightgbm", "scikit-learn")
    names = (*trees, "tensorflow", "tensorflow-cpu", "keras", "torch", "onnx", "onnxmltools", "skl2onnx")
    return {name: installed[name] for name in names if name in installed}


def _described(made: FittedModel) -> dict[str, Any]:
    """What is worth keeping of a fit besides its files, as plain data."""
    return {
        "format": made.format,
        "signature": made.signature.as_dict(),
        "classes": list(made.classes),
        "importance": dict(made.importance),
        "curve": dict(made.curve),
        "summary": dict(made.summary),
        "export": dict(made.export),
        "warnings": list(made.warnings),
    }


def _fit_said(fitted: Mapping[str, Any]) -> str:
    trees = fitted["summary"].get("trees")
    told = [f"{trees:,} trees"] if trees else []
    if nodes := fitted["summary"].get("nodes"):
        told.append(f"{len(nodes):,} nodes")
    return "; ".join([", ".join([*told, said(fitted["export"])]), *fitted["warnings"]])


def _evaluated(
    work: _Work, training_set: TrainingSet, fitted: Mapping[str, Any], parts: Mapping[str, pl.DataFrame], step: Step
) -> tuple[Evaluation, dict[str, Any]]:
    model, stores = work.model, work.stores

    def judge() -> dict[str, Any]:
        servable = _open(stores, fitted)
        try:
            scores = {name: _scores(servable, parts[name]) for name in ("validation", "test")}
        finally:
            servable.close()
        classes, where = tuple(fitted["classes"]), f"part of '{model.name}'"
        labels = {name: encoded(model.label, parts[name], classes, f"the {name} {where}") for name in parts}
        evaluation = evaluate(
            labels["test"],
            scores["test"],
            kind=model.label.kind,
            classes=classes,
            metrics=model.measured,
            slice_columns={name: parts["test"][name].to_numpy() for name in (*model.slices, *model.partition_by)},
            baseline_scores=_baseline_scores(model, parts, labels, classes) if model.baseline else None,
            threshold=model.threshold,
            seed=model.seed,
        )
        validation = measure(
            labels["validation"],
            scores["validation"],
            model.measured,
            kind=model.label.kind,
            threshold=model.threshold,
        )
        result = {
            "evaluation": evaluation.as_dict(),
            "validation": {name: value.as_dict() for name, value in validation.items()},
            "scores": ReferenceDistribution.from_values(one_score(scores["test"])).as_dict(),
        }
        return {"result": stores.artifacts.put(msgspec.json.encode(result))}

    spec = {
        name: model.spec()[name] for name in ("label", "split", "metrics", "slices", "baseline", "threshold", "seed")
    }
    key = digest_data(["evaluate", training_set.digest, fitted["servable"], fitted["signature"], spec])
    outputs = remembered(stores, work.run_id, step, key, judge)
    result = msgspec.json.decode(stores.artifacts.get(outputs["result"], name="evaluation"))
    return Evaluation.from_dict(result["evaluation"]), result


def _open(stores: Stores, fitted: Mapping[str, Any]) -> Servable:
    """The exported artifact, from the store: what is measured is what will be served."""
    with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
        stores.artifacts.unpack(fitted["servable"], Path(folder))
        return open_servable(fitted["format"], Path(folder), Signature.from_dict(fitted["signature"]))


def _scores(servable: Servable, rows: pl.DataFrame) -> Any:
    return servable.run(servable.signature.tensors(rows))[servable.signature.outputs[0].name]


def _baseline_scores(
    model: Model, parts: Mapping[str, pl.DataFrame], labels: Mapping[str, Any], classes: tuple[str, ...]
) -> Any:
    columns = {part: {name: parts[part][name].to_numpy() for name in model.baseline} for part in ("train", "test")}
    if not classes:
        return RateBaseline.fit(columns["train"], labels["train"]).score(columns["test"])
    one_each = [labels["train"] == place for place in range(len(classes))]
    return np.column_stack([RateBaseline.fit(columns["train"], one).score(columns["test"]) for one in one_each])


def _registered(
    work: _Work,
    training_set: TrainingSet,
    fitted: Mapping[str, Any],
    parts: Mapping[str, pl.DataFrame],
    evaluation: Evaluation,
    judged: Mapping[str, Any],
    step: Step,
) -> ModelVersion:
    model, service, stores = work.model, work.service, work.stores

    def add() -> dict[str, Any]:
        current = champion(stores, model.name)
        reference = read_record(stores, current)["metrics"]["test"] if current is not None else None
        gates = judge_gates(model.gates, evaluation, reference)
        made = register(
            stores,
            model_record(
                stores,
                work.definitions,
                model,
                service,
                training_set,
                {**fitted, "tuning": work.tuned, "start": str(work.start) if work.start is not None else None},
                parts,
                judged,
                gates,
                work.run_id,
            ),
            format=fitted["format"],
            servable=stores.artifacts.get_files(fitted["servable"]),
            learned=stores.artifacts.get_files(fitted["learned"]),
            definitions=work.definitions.source,
            run_id=work.run_id,
            sources=[training_set.address, *([f"model:{work.start}"] if work.start is not None else [])],
        )
        return {"version": made.version}

    views = [*(view for view, _ in service.stored), *service.on_demand]
    specs = [model.spec(), *(view.spec() for view in views)]
    key = digest_data(["register", model.name, fitted["servable"], training_set.digest, specs])
    outputs = remembered(stores, work.run_id, step, key, add)
    return resolve(stores, f"{model.name}@{outputs['version']}")


def _headline(evaluation: Evaluation) -> str:
    name, value = next(iter(evaluation.metrics.items()))
    said = f"{name} {value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
    if name in evaluation.baseline:
        said += f", baseline {evaluation.baseline[name].value:.3f}"
    return f"{said}, {len(evaluation.slices)} slices"
