"""Going on from a registered version: what of it is taken over, and which rows it has not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import polars as pl

from carrara.core.clock import parse_time
from carrara.core.digests import digest_data
from carrara.core.errors import TrainingError
from carrara.data.rows import Rows, split_table
from carrara.features.training_set import read_training_set
from carrara.models.registry import (
    ModelVersion,
    champion,
    learned_files,
    list_models,
    read_record,
    recorded_definitions,
)
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import SERVABLE
from carrara.storage.stores import Stores
from carrara.training.fit import Former, Prepared
from carrara.training.inputs import Inputs
from carrara.training.model import Label, Model
from carrara.training.partitions import FormerNodes
from carrara.training.trainers.imported import refuse_imported


def newest_version(stores: Stores, model: str) -> ModelVersion | None:
    """The version that was registered last, if there is one."""
    found = list_models(stores, model)
    return found[-1] if found else None


def version_to_go_on_from(stores: Stores, model: str) -> ModelVersion:
    """The champion, or else the newest version. Raises TrainingError where there is none."""
    found = champion(stores, model) or newest_version(stores, model)
    if found is None:
        raise TrainingError(
            f"there is no version of '{model}' to go on from", hint=f"Train it on all rows first: carrara train {model}"
        )
    return found


def last_learned(stores: Stores, version: ModelVersion) -> datetime:
    """When the last label that a version was trained on had become known."""
    model: Model = recorded_definitions(stores, version).of_kind("model")[version.model]
    refuse_imported(model.trainer, str(version), "be gone on from")
    number = read_record(stores, version)["datasets"]["training_set"]["version"]
    label, (_, table) = model.label, read_training_set(stores, version.model, number)
    rows = split_table(table, model.split, time=label.time, known_at=label.known_at)["train"]
    newest = rows[label.known_at or label.time].max()
    assert isinstance(newest, datetime)
    return newest


def unseen(parts: Mapping[str, Rows], label: Label, seen: str, version: ModelVersion) -> dict[str, Rows]:
    """The parts with those rows of the train part alone whose label became known after `seen`.

    Raises TrainingError where there are none.
    """
    train = parts["train"].filter(pl.col(label.known_at or label.time) > parse_time(seen))
    if not train.height:
        raise TrainingError(
            f"no row of the train part became known after those of {version} ({seen[:19]})",
            hint="A split whose times move on gives new rows to the train part: split=carrara.RollingSplit().",
        )
    return {**parts, "train": train}


def former_of(stores: Stores, version: ModelVersion, model: Model, features: tuple[str, ...]) -> Former | None:
    """How the matrix of a version is made, where the model declares the same features and transforms; else None."""
    record = read_record(stores, version)
    declared = digest_data([transform.spec() for transform in model.transforms])
    signature = Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    same = declared == digest_data(record["configuration"]["transforms"])
    if not same or tuple(spec.name for spec in signature.inputs) != features or model.partition_by or model.scores:
        return None
    classes = tuple(record["parameters"].get("classes", ()))
    return Former(Inputs.of_files(signature.inputs, learned_files(stores, version)), classes)


def nodes_of(stores: Stores, version: ModelVersion) -> FormerNodes:
    """The nodes of a version, for one that takes over all but some."""
    files = stores.artifacts.get_files(version.manifest)
    servable = {name.removeprefix(SERVABLE): data for name, data in files.items() if name.startswith(SERVABLE)}
    return FormerNodes(str(version), servable, learned_files(stores, version))


def begun_with(stores: Stores, prepared: Prepared, version: ModelVersion, former: Former | None) -> Prepared:
    """What was prepared, to go on from what a version has learned."""
    told = prepared.warnings
    if former is None and prepared.inputs.learned:
        told = (*told, f"its features or transforms are not those of {version}: transforms were fitted anew")
    return replace(prepared, task=replace(prepared.task, start=learned_files(stores, version)), warnings=told)
