"""Scores of other models that a model reads: which versions, and from when on their scores are no hindsight."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from carrara.core.clock import parse_time
from carrara.core.definitions import Definitions
from carrara.core.errors import TrainingError
from carrara.data.rows import Rows
from carrara.features.model_features import features_of_model
from carrara.features.service import ResolvedFeatures, definition_digest
from carrara.models.registry import ModelVersion, read_record, recorded_definitions, resolve
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import SERVABLE
from carrara.storage.stores import Stores
from carrara.training.model import Model
from carrara.training.stages import Stage
from carrara.training.trainers.imported import refuse_imported


def stages_of(stores: Stores, model: Model, service: ResolvedFeatures, addresses: tuple[str, ...]) -> tuple[Stage, ...]:
    """The versions that a model's `scores` stand for now.

    Raises TrainingError for one that is not in ONNX, or whose features the model does not read as they were defined.
    """
    return tuple(_stage(stores, model, service, resolve(stores, address)) for address in addresses)


def _stage(stores: Stores, model: Model, service: ResolvedFeatures, version: ModelVersion) -> Stage:
    record = read_record(stores, version)
    if version.format != "onnx":
        raise TrainingError(
            f"{version}, whose score '{model.name}' reads, is kept as {version.format}",
            hint="Only ONNX can be in another model.",
        )
    signature = Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    lacking = [spec.name for spec in signature.inputs if spec.name not in service.features]
    if lacking:
        raise TrainingError(
            f"'{model.name}' reads the score of {version}, and not its feature '{lacking[0]}'",
            hint=f"Add to its features: {', '.join(lacking)}.",
        )
    _check_views(stores, model, service, version)
    file = stores.artifacts.manifest(version.manifest)[f"{SERVABLE}model.onnx"]
    graph = stores.artifacts.get(str(file["sha256"]), name="model.onnx")
    return Stage(
        str(version),
        graph,
        signature,
        tuple(record["parameters"].get("classes", ())),
        borrowed=tuple(spec.name for spec in signature.inputs if spec.name in service.borrowed),
        until=parse_time(learned_until(stores, version)),
    )


def _check_views(stores: Stores, model: Model, service: ResolvedFeatures, version: ModelVersion) -> None:
    """A view that has another definition by now would feed the other model something it does not know."""
    then: Definitions = recorded_definitions(stores, version)
    other = then.of_kind("model")[version.model]
    former = features_of_model(then, other, where=f"model '{version}'")
    now = {view.name: definition_digest(view) for view, _ in service.stored}
    for view, _ in former.stored:
        if now.get(view.name) != definition_digest(view):
            raise TrainingError(
                f"the view '{view.name}' is not what {version}, whose score '{model.name}' reads, was trained on",
                hint=f"Train {version.model} again, and read that version.",
            )


def learned_until(stores: Stores, version: ModelVersion) -> str:
    """When the last label became known that a version was fitted or stopped by."""
    trainer = recorded_definitions(stores, version).of_kind("model")[version.model].trainer
    refuse_imported(trainer, str(version), "give scores to another model")
    parts = read_record(stores, version)["datasets"]["parts"]
    return max(str(parts[name]["known"]) for name in ("train", "validation"))


def out_of_sample(
    parts: Mapping[str, Rows], model: Model, stages: tuple[Stage, ...], *, whole: tuple[str, ...] = ()
) -> dict[str, Rows]:
    """The rows that are predicted after all that a stage has learned from: on earlier ones its score is hindsight.
    Where a stage has folds, the rows to train on and to stop by begin with the first, whose fits know nothing of them.
    Parts that are named are kept `whole`.

    Raises TrainingError where a part is left without rows.
    """
    if not stages:
        return dict(parts)
    kept = {}
    for name, rows in parts.items():
        if name in whole:
            kept[name] = rows
            continue
        time, folded = pl.col(model.label.time), name != "test"
        kept[name] = rows.filter(*(_unseen(stage, time, folded) for stage in stages))
        if not kept[name].height:
            until = max(str(stage.until) for stage in stages)
            raise TrainingError(
                f"every row of the {name} part of '{model.name}' is older than what "
                f"{' and '.join(stage.address for stage in stages)} learned from (until {until[:19]})",
                hint="Train the first stage on older rows: move its split's times back."
                + ("" if name == "test" else " Or have its earlier rows scored out of fold: score_folds=5."),
            )
    return kept


def _unseen(stage: Stage, time: pl.Expr, folded: bool) -> pl.Expr:
    return time >= stage.folds[0].begin if folded and stage.folds else time > stage.until


def judgeable(parts: Mapping[str, Rows], model: Model, stages: tuple[Stage, ...]) -> dict[str, Rows]:
    """The parts as the model may be judged by them that is served, whose stages are the versions themselves: without
    the rows of the validation part that a stage has learned from, be it all."""
    folded = [_unseen(stage, pl.col(model.label.time), False) for stage in stages if stage.folds]
    return {**parts, "validation": parts["validation"].filter(*folded)} if folded else dict(parts)


def described(stages: tuple[Stage, ...]) -> list[str]:
    return [stage.address for stage in stages]
