"""The steps of a training that learn: tuning, and the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from carrara.core.clock import now
from carrara.core.digests import digest_bytes, digest_data
from carrara.core.environment import environment, installed
from carrara.core.progress import Step
from carrara.data.rows import Rows
from carrara.features.training_set import TrainingSet
from carrara.metadata.trials import add_trial, list_trials
from carrara.pipelines.continued import begun_with, former_of, nodes_of
from carrara.pipelines.limits import Limits
from carrara.pipelines.measures import Measures
from carrara.pipelines.scores import described
from carrara.pipelines.steps import TrainingWork, on_engine, remembered
from carrara.storage.stores import Stores
from carrara.training.analyzers.spans import FOLDER, Analyses, Day, said as said_of_days
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.fit import FittedModel, Prepared, fit_prepared, prepare
from carrara.training.model import Model
from carrara.training.partitions import fit_partitioned, inner_features, refit_nodes
from carrara.training.proof import said
from carrara.training.search import grid
from carrara.training.stages import Stage
from carrara.training.transformed import transformed
from carrara.training.tuning import Trial, best_of, search_space, tune, tuned_metric, with_parameters


def tune_step(
    work: TrainingWork,
    training_set: TrainingSet,
    parts: Mapping[str, Rows],
    step: Step,
    trials: int,
    jobs: int,
    sampler: str,
) -> TrainingWork:
    """The work with the best hyper-parameters that were found."""
    model, metadata = work.model, work.stores.metadata
    space = {name: one.spec() for name, one in search_space(model).items()}
    by, libraries = tuned_metric(model), _libraries()
    name, more_is_better = by.name, bool(by.greater_is_better)
    study = digest_data(
        [
            "tune",
            model.name,
            training_set.digest,
            _learned_from(model),
            described(work.stages),
            *([model.score_folds] if model.score_folds else []),
            space,
            by.spec(),
            libraries,
            # A grid's points depend on how many there may be; other trials are of use to a longer search.
            *([sampler, *([trials] if sampler == "grid" else [])] if sampler != "tpe" else []),
        ]
    )
    done = _trials(work.stores, study)
    step.reused = len(done) >= (len(grid(search_space(model), trials)) if sampler == "grid" else trials)
    if not step.reused:

        def keep(trial: Trial) -> None:
            add_trial(metadata, study, model.name, work.run_id, **{**vars(trial), "parameters": dict(trial.parameters)})

        prepared = prepare(
            model,
            inner_features(model, work.service.features),
            parts,
            folder=_scratch(work.stores),
            stages=work.stages,
            analyses=_analyses(work.stores, training_set),
        )
        prepared = on_engine(work.stores, prepared)
        tune(model, prepared, trials=trials, jobs=jobs, known=done, keep=keep, advance=step.advance, sampler=sampler)
        done = _trials(work.stores, study)
    best = best_of(done, more_is_better)
    tuned = {"study": study, "metric": name, "value": best.value, "trials": len(done), "search": space}
    tuned |= {"sampler": sampler, "trial": next(n for n, one in enumerate(done, start=1) if one is best)}
    pruned = sum(trial.state == "pruned" for trial in done)
    chosen = ", ".join(f"{key} {_short(value)}" for key, value in best.parameters.items())
    step.said = f"{len(done)} trials, {pruned} given up early; {name} {best.value:.4f} with {chosen}"
    return replace(
        work,
        model=replace(model, trainer=with_parameters(model.trainer, best.parameters)),
        tuned={**tuned, "parameters": dict(best.parameters)},
    )


def _trials(stores: Stores, study: str) -> list[Trial]:
    return [
        Trial(one.parameters, one.state, one.value, one.losses, one.error)  # type: ignore[arg-type]
        for one in list_trials(stores.metadata, study=study)
    ]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _learned_from(model: Model) -> dict[str, Any]:
    """What of a model's definition its fit depends on."""
    spec = model.spec()
    names = ("features", "label", "split", "trainer", "transforms", "weight", "class_weights", "seed")
    return {name: spec[name] for name in (*names, "partition_by", "partition_rows")}


def fit_step(work: TrainingWork, training_set: TrainingSet, parts: Mapping[str, Rows], step: Step) -> dict[str, Any]:
    """What was fitted and exported, from its checkpoint where it was begun before."""
    model, stores = work.model, work.stores
    start = work.start.manifest if work.start is not None else None
    key = digest_data(
        ["train", training_set.digest, _learned_from(model), _libraries(), start, work.seen, work.team.spec()]
        + [[stage.address, *map(digest_bytes, _graphs(stage))] for stage in work.stages]
        + [["nodes", *work.nodes] for _ in work.nodes[:1]]
    )
    checkpoint = FileCheckpoint(stores.root / ".carrara" / "checkpoints" / key)

    def fit() -> dict[str, Any]:
        started, measures = now(), Measures(stores, work.run_id)
        features = work.service.features
        limits = Limits(model, stores.metadata, work.run_id)
        analyses = _analyses(stores, training_set)
        device: dict[str, Any] = {}
        changed: list[dict[str, Any]] = []
        try:
            with limits.kept():
                if work.nodes:
                    assert work.start is not None
                    made = refit_nodes(model, features, parts, nodes_of(stores, work.start), work.nodes)
                else:
                    prepared = _prepared(work, training_set, parts, checkpoint, step, analyses)
                    task = replace(prepared.task, report=limits.checked(measures.report), team=work.team)
                    task = replace(task, measured=measures.add, paced=measures.paced, logs=measures.logs)
                    task = replace(task, tell=step.tell, log=step.log, computed=device.update)
                    prepared = replace(prepared, task=task)
                    changed = transformed(prepared.inputs, prepared.train.features)
                    if model.partition_by:
                        made = fit_partitioned(model, features, parts, prepared, step.advance)
                    else:
                        made = fit_prepared(model, prepared)
        finally:
            measures.flush()
        return {
            **_described(made),
            "warnings": [*made.warnings, *checkpoint.notes],
            "servable": stores.artifacts.put_files(made.files),
            "learned": stores.artifacts.put_files(made.learned),
            "libraries": installed(made.libraries),
            "rows": parts["train"].height,
            "analyses": analyses.told(),
            "transformed": changed,
            "team": work.team.spec(),
            "told": step.told,
            "started_at": started.isoformat(),
            "ended_at": now().isoformat(),
            "environment": {**environment(), **({"device": device} if device else {})},
        }

    fitted = remembered(stores, work.run_id, step, key, fit)
    checkpoint.clear()
    return fitted


def _prepared(
    work: TrainingWork,
    training_set: TrainingSet,
    parts: Mapping[str, Rows],
    checkpoint: FileCheckpoint,
    step: Step,
    analyses: Analyses,
) -> Prepared:
    """What the trainer is given, of the rows and of the version that it goes on from."""
    model, stores, start = work.model, work.stores, work.start
    inner = inner_features(model, work.service.features)
    former = former_of(stores, start, model, inner) if start is not None else None
    prepared = prepare(model, inner, parts, step.advance, checkpoint, _scratch(stores), former, work.stages, analyses)
    _log_analyses(analyses, step)
    if start is not None:
        prepared = begun_with(stores, prepared, start, former)
    return on_engine(stores, prepared)


def _analyses(stores: Stores, training_set: TrainingSet) -> Analyses:
    return Analyses(Day.of(training_set.days), stores.root / ".carrara" / FOLDER)


def _log_analyses(analyses: Analyses, step: Step) -> None:
    told = analyses.told()
    if told is not None:
        step.log(f"[transforms] of {told['days']:,} days {told['kept']:,} were kept; read: {', '.join(told['read'])}")


def _graphs(stage: Stage) -> list[bytes]:
    return [stage.graph, *(fold.graph for fold in stage.folds)]


def _scratch(stores: Stores) -> Path:
    """Beside the lake, where there is room for what is made of it."""
    return stores.root / ".carrara"


def _libraries() -> dict[str, str]:
    """The versions that a fitted model may depend on."""
    trees = ("xgboost", "xgboost-cpu", "lightgbm", "scikit-learn")
    names = (*trees, "tensorflow", "tensorflow-cpu", "keras", "torch", "onnx", "skl2onnx", "pyspark")
    return installed(names)


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


def _nodes_said(nodes: Sequence[Mapping[str, Any]]) -> str:
    """How many nodes there are; where some are of other versions, which are new."""
    kept = sorted({node["kept"] for node in nodes if "kept" in node})
    if not kept:
        return f"{len(nodes):,} nodes"
    new = ", ".join(node["name"] for node in nodes if "kept" not in node)
    return f"{new} of {len(nodes):,} nodes, the others of {', '.join(kept)}"


def fit_said(fitted: Mapping[str, Any]) -> str:
    trees = fitted["summary"].get("trees")
    told = [f"{trees:,} trees"] if trees else []
    if nodes := fitted["summary"].get("nodes"):
        told.append(_nodes_said(nodes))
    if begun := fitted["summary"].get("samples_anew_after"):
        told.append(f"gone on with after {begun:,}, by other samples")
    if analysed := said_of_days(fitted.get("analyses")):
        told.append(analysed)
    return "; ".join([", ".join([*told, said(fitted["export"])]), *fitted["warnings"], *fitted.get("told", [])])
