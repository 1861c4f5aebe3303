"""The fits of another model that score the rows which its version has learned from: each on what was known before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from carrara.core.clock import parse_time
from carrara.core.digests import digest_data
from carrara.core.errors import CarraraError, TrainingError
from carrara.core.progress import Step
from carrara.data.rows import split_table
from carrara.data.splits import TimeSplit
from carrara.features.training_set import read_training_set
from carrara.models.registry import read_record, resolve
from carrara.pipelines.scoring import recorded_model
from carrara.pipelines.steps import TrainingWork, on_engine, remembered
from carrara.storage.stores import Stores
from carrara.training.fit import fit_prepared, prepare
from carrara.training.model import Model
from carrara.training.out_of_fold import begins_of
from carrara.training.stages import Fold, Stage
from carrara.training.tuning import with_parameters


def folds_step(work: TrainingWork, step: Step) -> tuple[Stage, ...]:
    """The stages of a run with their folds, which are fitted once for a version and a number of folds."""
    stores, count = work.stores, work.model.score_folds

    def completed(stage: Stage) -> Stage:
        version = resolve(stores, stage.address)
        kept = read_record(stores, version)["datasets"]["training_set"]["digest"]
        key = digest_data(["folds", version.manifest, kept, count])

        def fit() -> dict[str, Any]:
            folds = fit_folds(stores, stage, count)
            return {"folds": [[fold.begin.isoformat(), stores.artifacts.put(fold.graph)] for fold in folds]}

        found = remembered(stores, work.run_id, step, key, fit)["folds"]
        read = stores.artifacts.get
        return replace(stage, folds=tuple(Fold(parse_time(begin), read(graph, name="fold")) for begin, graph in found))

    stages = tuple(completed(stage) for stage in work.stages)
    step.said = ", ".join(f"{stage.address} by {len(stage.folds)} fits on earlier rows" for stage in stages)
    return stages


def with_folds(stores: Stores, stages: tuple[Stage, ...], count: int) -> tuple[Stage, ...]:
    """The stages with their folds, fitted now."""
    return tuple(replace(stage, folds=fit_folds(stores, stage, count)) for stage in stages) if count else stages


def folds_until(stores: Stores, stage: Stage, count: int, origin: datetime) -> Stage:
    """The stage as it would have been at `origin`: folds on what was known before, and a last one that begins there,
    for all that comes after."""
    folds = fit_folds(stores, replace(stage, until=origin), count, also=(origin,))
    return replace(stage, folds=folds, until=datetime.max.replace(tzinfo=UTC))


def fit_folds(stores: Stores, stage: Stage, count: int, also: tuple[datetime, ...] = ()) -> tuple[Fold, ...]:
    """Fit the model of a stage, by its recorded definition and data, on what was known when each fold begins.

    Folds are stretches of time with equally many of the rows that the version has learned from, and those of before the
    first one are learned from alone. The last part of each fit's rows validates, as large a share as it was of the
    version's own; `also` are more moments at which one begins. Raises TrainingError where a fold cannot be fitted, as
    its rows are too few.
    """
    version = resolve(stores, stage.address)
    record, (model, service) = read_record(stores, version), recorded_model(stores, version)
    if model.scores:
        raise TrainingError(
            f"{version} reads scores itself, and cannot be fitted on earlier rows", hint="Leave out score_folds."
        )
    if tuning := record["summary"].get("tuning"):
        model = replace(model, trainer=with_parameters(model.trainer, tuning["parameters"]))
    table = read_training_set(stores, version.model, record["datasets"]["training_set"]["version"])[1]
    rows = {name: record["datasets"]["parts"][name]["rows"] for name in ("train", "validation")}
    held = rows["validation"] / sum(rows.values())
    time, known = model.label.time, model.label.known_at or model.label.time
    times = table.filter(pl.col(known) <= stage.until).select(time).collect()[time]
    found = []
    for number, begin in enumerate((*begins_of(times, count), *also), start=1):
        try:
            found.append(Fold(begin, _graph(stores, model, service.features, table, begin, held, stage)))
        except CarraraError as error:
            raise TrainingError(
                f"fold {number} of {count} of {version}, on what was known at {begin:%Y-%m-%d %H:%M}: {error.message}",
                hint="Ask for fewer score_folds: the first one has the fewest rows.",
            ) from error
    return tuple(found)


def _graph(
    stores: Stores,
    model: Model,
    features: tuple[str, ...],
    table: pl.LazyFrame,
    begin: datetime,
    held: float,
    stage: Stage,
) -> bytes:
    label = model.label
    known = table.filter(pl.col(label.known_at or label.time) < begin).select(label.time).collect()[label.time].sort()
    if len(known) < 2:
        raise TrainingError(f"{len(known)} labels were known")
    validation_from = known[min(int(len(known) * (1 - held)), len(known) - 1)]
    split = TimeSplit(validation_from.isoformat(), begin.isoformat())
    parts = split_table(table, split, time=label.time, known_at=label.known_at)
    prepared = prepare(model, features, parts, folder=stores.root / ".carrara")
    fitted = fit_prepared(model, on_engine(stores, prepared))
    if "model.onnx" not in fitted.files or fitted.classes != stage.classes:
        lacking = [name for name in stage.classes if name not in fitted.classes]
        raise TrainingError(f"it knows no class {lacking[0]}" if lacking else f"it is kept as {fitted.format}")
    return fitted.files["model.onnx"]
