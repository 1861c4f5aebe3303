"""Train: from a model's definition to a registered version, in steps that a second run need not repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from carrara.core.definitions import Definitions
from carrara.core.digests import digest_data
from carrara.core.errors import NotFoundError, TrainingError
from carrara.core.html import card, section
from carrara.core.progress import Progress, Step
from carrara.data.rows import Rows, split_table
from carrara.data.splits import PARTS
from carrara.data.versions import dataset_version
from carrara.evaluation.evaluate import Evaluation
from carrara.features.model_features import features_of_model
from carrara.features.offline import current_table
from carrara.features.training_set import TrainingSet, build_training_set, read_training_set, training_set_key
from carrara.metadata.runs import run
from carrara.models.notebook import gates_table
from carrara.models.registry import ModelVersion, read_record, register, resolve
from carrara.pipelines.continued import last_learned, unseen, version_to_go_on_from
from carrara.pipelines.evaluate_step import evaluate_step
from carrara.pipelines.fit_step import fit_said, fit_step, tune_step
from carrara.pipelines.judge_step import judge_step, warm_up_requests
from carrara.pipelines.judged_columns import check_judged_columns
from carrara.pipelines.out_of_fold import folds_step
from carrara.pipelines.prepare import compute_features, ingest_for
from carrara.pipelines.record import model_record, overlap_warnings
from carrara.pipelines.run_log import logged
from carrara.pipelines.scores import described, out_of_sample, stages_of
from carrara.pipelines.steps import TrainingWork, remembered
from carrara.storage.stores import Stores
from carrara.training.cluster.team import Team
from carrara.training.compute import Compute
from carrara.training.model import Model
from carrara.training.tuning import SAMPLERS


@dataclass(frozen=True)
class Trained:
    """The version that a training run ended with, and what was measured; `reused` when nothing had changed."""

    version: ModelVersion
    evaluation: Evaluation
    gates: Mapping[str, Any]
    reused: bool

    def _repr_html_(self) -> str:
        gates = section("Gates", gates_table(self.gates))
        lead = "reused: nothing had changed" if self.reused else "trained"
        return card(str(self.version), *self.evaluation.shown(), gates, lead=lead)


def train(
    stores: Stores,
    definitions: Definitions,
    name: str,
    progress: Progress,
    *,
    trials: int = 0,
    jobs: int = 1,
    sampler: str = "tpe",
    start: str | None = None,
    new_rows: bool = False,
    nodes: Sequence[str] = (),
    team: Team | None = None,
    why: Sequence[str] = (),
) -> Trained:
    """Train a model as its definition says, evaluate the exported artifact, judge it, and register it.

    With `trials` its hyper-parameters are tuned first, and the best ones taken; trials of the same search that are
    recorded already count, and the `sampler` is "tpe", "random" or "grid". `start` is the address of a version to go
    on from; with `new_rows` training goes on from it, or the champion, or the newest version, on the rows alone that
    it has not seen. A `team` of processes shares the fit, where the trainer can, by default that of the definition.
    With `nodes` these alone of a partitioned model are trained, and all others are those of `start`, or of the
    champion, or of the newest version. `why` is recorded.

    Killed anywhere, the next call goes on from the last step that was complete. A version whose gates fail is
    registered too, and cannot be deployed.
    """
    model = definitions.get("model", name, Model)
    service = features_of_model(definitions, model, where=f"model '{name}'")
    team = team_of(stores, model, team)
    _check_team(model, team)
    if new_rows and trials:
        raise TrainingError(
            "new rows alone are too few to choose hyper-parameters by", hint="Tune without --new-rows, or not at all."
        )
    if model.score_folds and (new_rows or start):
        raise TrainingError(
            f"'{name}' has its scores out of fold, and goes on from no version",
            hint="Train it without --from and --new-rows.",
        )
    if sampler not in SAMPLERS:
        raise NotFoundError("sampler", sampler, SAMPLERS)
    _check_nodes(model, nodes, alone=not (trials or new_rows))
    begun = resolve(stores, start) if start else None
    if (new_rows or nodes) and begun is None:
        begun = version_to_go_on_from(stores, name)
    asked = {"definition": model.spec(), "trials": trials, "jobs": jobs, "start": str(begun) if begun else None}
    asked |= {"sampler": sampler} if trials else {}
    asked |= {**team.spec(), "new_rows": new_rows, "why": list(why), **({"nodes": list(nodes)} if nodes else {})}
    stages = stages_of(stores, model, service, model.scores)
    seen = last_learned(stores, begun).isoformat() if new_rows and begun is not None else None
    with run(stores.metadata, "train", name, asked) as run_id, logged(stores, run_id, progress):
        work = TrainingWork(
            stores,
            definitions,
            model,
            service,
            run_id,
            start=begun,
            team=team,
            seen=seen,
            why=tuple(why),
            stages=stages,
            nodes=tuple(dict.fromkeys(nodes)),
        )
        training_set = assembled(work, progress)
        if model.score_folds:
            with progress.step("folds") as step:
                work = replace(work, stages=folds_step(work, step))
        parts = _Parts(work, training_set)
        if trials:
            with progress.step("tune") as step:
                work = tune_step(work, training_set, parts, step, trials, jobs, sampler)
        with progress.step("train") as step:
            learned_from = parts if seen is None or begun is None else unseen(parts, model.label, seen, begun)
            fitted = fit_step(work, training_set, learned_from, step)
            new = f"{fitted['rows']:,} rows that {begun} has not seen; " if seen is not None else ""
            step.said = new + fit_said(fitted)
        with progress.step("evaluate") as step:
            evaluation, judged = evaluate_step(work, training_set, fitted, parts, step)
            step.said = _headline(evaluation, judged)
        with progress.step("register") as step:
            version = _registered(work, training_set, fitted, parts, evaluation, judged, step)
            gates = read_record(stores, version)["gates"]
            passed = sum(result["passed"] for result in gates["results"])
            step.said = f"{version}, {passed} of {len(gates['results'])} gates passed"
    return Trained(version, evaluation, gates, step.reused)


def _check_nodes(model: Model, nodes: Sequence[str], *, alone: bool) -> None:
    if nodes and not model.partition_by:
        raise TrainingError(f"'{model.name}' is not partitioned, and has no nodes", hint="Train it without --node.")
    if nodes and not alone:
        raise TrainingError(
            "a node is trained on all its rows, as it is declared", hint="Leave out --trials and --new-rows."
        )


def team_of(stores: Stores, model: Model, asked: Team | None) -> Team:
    """The processes that were asked for, or else those of the definition, where the workspace trains; each has the GPUs
    that the definition says."""
    own = model.compute or Compute()
    if asked is not None:
        return replace(asked, gpus=own.gpus)
    engine = stores.engines.training
    return Team.of(own.workers, own.servers, None, engine, own.evaluator, own.gpus, own.min_workers)


def _check_team(model: Model, team: Team) -> None:
    trainer = model.trainer
    if not (team.is_alone or getattr(trainer, "distributed", False)):
        raise TrainingError(
            f"the trainer '{trainer.name}' runs in one process, with all its cores", hint="Train without --workers."
        )
    if team.has_servers and not getattr(trainer, "parameter_servers", False):
        raise TrainingError(
            f"the trainer '{trainer.name}' knows no parameter servers",
            hint="Train with --workers alone: they share each batch.",
        )


def assembled(work: TrainingWork, progress: Progress) -> TrainingSet:
    """The training set of a model, after its datasets and features, each brought up to date."""
    stores, definitions, service = work.stores, work.definitions, work.service
    views = [view for view, _ in service.stored]
    with progress.step("datasets") as step:
        ingested = ingest_for(stores, definitions, [work.model.label.dataset, *(view.source for view in views)])
        check_judged_columns(stores, work.model, service)
        step.reused = all(one.reused for one in ingested)
        step.said = f"{len(ingested)} datasets, {sum(one.version.rows for one in ingested):,} rows"
    with progress.step("features") as step:
        tables = compute_features(stores, definitions, views)
        step.reused = all(table.reused for table in tables)
        step.said = f"{len(tables)} feature views, {sum(table.rows for table in tables):,} rows"
    with progress.step("training set") as step:
        training_set = _training_set(work, step)
        step.said = f"{training_set.rows:,} rows × {len(service.features)} features"
    return training_set


def _training_set(work: TrainingWork, step: Step) -> TrainingSet:
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
    sliced = (column for column in model.slicing.reads if column not in (*model.partition_by, *model.features))
    named = (
        *model.label.columns,
        model.label.group,
        model.label.known_at,
        model.weight,
        model.metric_weight,
        *sliced,
        *model.baseline,
    )
    return tuple(dict.fromkeys(column for column in named if column))


class _Parts(Mapping[str, Rows]):
    """The parts of a training set, made when one is first asked for: a run of which nothing has changed asks for none,
    and some splits hash every row."""

    def __init__(self, work: TrainingWork, training_set: TrainingSet) -> None:
        self._work, self._training_set = work, training_set

    @cached_property
    def _made(self) -> dict[str, Rows]:
        work, label = self._work, self._work.model.label
        table = work.stores.lake.scan(self._training_set.lake_table)
        parts = split_table(table, work.model.split, time=label.time, known_at=label.known_at)
        return out_of_sample(parts, work.model, work.stages)

    def __getitem__(self, name: str) -> Rows:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(PARTS)

    def __len__(self) -> int:
        return len(PARTS)


def _registered(
    work: TrainingWork,
    training_set: TrainingSet,
    fitted: Mapping[str, Any],
    parts: Mapping[str, Rows],
    evaluation: Evaluation,
    judged: Mapping[str, Any],
    step: Step,
) -> ModelVersion:
    model, service, stores = work.model, work.service, work.stores

    views = [*(view for view, _ in service.stored), *service.on_demand]
    specs = [model.spec(), *(view.spec() for view in views)]
    key = digest_data(["register", model.name, fitted["servable"], training_set.digest, specs])

    def add() -> dict[str, Any]:
        gates = judge_step(work, training_set, fitted, parts, evaluation)
        made = register(
            stores,
            model_record(
                stores,
                work.definitions,
                model,
                service,
                training_set,
                {**fitted, **_begun(work)},
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
            sources=[training_set.address, *(f"model:{one}" for one in (work.start, *described(work.stages)) if one)],
            # Killed before the step is remembered, the next run gets the version that this one made.
            key=key,
            warm_up=warm_up_requests(model, fitted, parts["test"]),
        )
        return {"version": made.version}

    outputs = remembered(stores, work.run_id, step, key, add)
    return resolve(stores, f"{model.name}@{outputs['version']}")


def _begun(work: TrainingWork) -> dict[str, Any]:
    """Of what a run has begun, for the record."""
    start = str(work.start) if work.start is not None else None
    return {
        "tuning": work.tuned,
        "start": start,
        "seen": work.seen,
        "why": list(work.why),
        "retrained": list(work.nodes),
        "stages": described(work.stages),
    }


def _headline(evaluation: Evaluation, judged: Mapping[str, Any]) -> str:
    name, value = next(iter(evaluation.metrics.items()))
    said = f"{name} {value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
    if name in evaluation.baseline:
        said += f", baseline {evaluation.baseline[name].value:.3f}"
    said += f", {len(evaluation.slices)} slices"
    if evaluation.weak_slices and evaluation.weak_slices[0].confirmed:
        said += f"; weakest where {evaluation.weak_slices[0].name}"
    return "; ".join([said, *overlap_warnings(judged["overlap"])])
