"""Reproduction: a version built again from its record, and what is equal; and what differs between two versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from carrara.core.digests import digest_bytes
from carrara.core.environment import environment
from carrara.core.errors import DataError
from carrara.core.html import html_table
from carrara.data.rows import Rows
from carrara.data.table_digest import digest_frame
from carrara.data.versions import dataset_version
from carrara.features.model_features import features_of_model
from carrara.features.offline import former_table
from carrara.features.training_set import read_training_set, training_rows
from carrara.models.registry import ModelVersion, read_record, recorded_definitions, resolve
from carrara.models.version_files import LEARNED, SERVABLE
from carrara.pipelines.continued import begun_with, former_of, nodes_of, unseen
from carrara.pipelines.out_of_fold import with_folds
from carrara.pipelines.plan import differences
from carrara.pipelines.scores import out_of_sample, stages_of
from carrara.pipelines.steps import on_engine
from carrara.pipelines.train import carried_columns
from carrara.storage.stores import Stores
from carrara.training.cluster.team import Team
from carrara.training.fit import Prepared, fit_prepared, prepare
from carrara.training.model import Model
from carrara.training.partitions import fit_partitioned, inner_features, refit_nodes
from carrara.training.stages import Stage
from carrara.training.trainers.imported import refuse_imported
from carrara.training.tuning import with_parameters


@dataclass(frozen=True)
class Compared:
    """One thing that was built again: its digest, and the recorded one."""

    what: str
    recorded: str
    found: str

    @property
    def equal(self) -> bool:
        return self.recorded == self.found


@dataclass(frozen=True)
class Reproduction:
    """What was built again of a version, in the order in which it depends on each other, and which installed
    distributions, and which device, are others than those that trained it."""

    version: str
    compared: tuple[Compared, ...]
    environment: dict[str, tuple[str | None, str | None]]

    @property
    def equal(self) -> bool:
        return all(one.equal for one in self.compared)

    @property
    def first_difference(self) -> str | None:
        return next((one.what for one in self.compared if not one.equal), None)

    def as_dict(self) -> dict[str, Any]:
        compared = [{**vars(one), "equal": one.equal} for one in self.compared]
        return {**vars(self), "equal": self.equal, "first_difference": self.first_difference, "compared": compared}

    def _repr_html_(self) -> str:
        rows = [(one.what, "equal" if one.equal else "differs") for one in self.compared]
        return html_table(self.version, ["built again", ""], rows)


def reproduce(stores: Stores, version: ModelVersion) -> Reproduction:
    """Build a version's training set and model again, by its record: from the recorded versions of data, with the
    recorded definitions and hyper-parameters, in this environment.

    Nothing is registered. Raises DataError where data of the record are no longer there.
    """
    record, definitions = read_record(stores, version), recorded_definitions(stores, version)
    model = definitions.get("model", version.model, Model)
    refuse_imported(model.trainer, str(version), "be built again")
    tuning = record["summary"].get("tuning")
    if tuning:
        model = with_trainer(model, tuning["parameters"])
    service = features_of_model(definitions, model, where=f"model '{version}'")
    kept, rows = read_training_set(stores, version.model, record["datasets"]["training_set"]["version"])
    name, number, _ = kept.dataset
    tables = {}
    for view, _ in service.stored:
        table = former_table(stores, view, kept.tables[view.name][0])
        if table is None:
            raise DataError(f"the table of '{view.name}' that {version} was trained on is no longer there")
        tables[view.name] = table
    labels = dataset_version(stores, name, number)
    rebuilt = training_rows(stores, service, labels, tables, model.label.time, carried_columns(model))
    parts = model.split.split(rows.collect(), time=model.label.time, known_at=model.label.known_at)
    stages = stages_of(stores, model, service, tuple(record["summary"].get("stages", ())))
    stages = with_folds(stores, stages, model.score_folds)
    later = out_of_sample(parts, model, stages)
    device: dict[str, Any] = {}
    if retrained := record["summary"].get("retrained"):
        former = nodes_of(stores, resolve(stores, record["summary"]["start"]))
        made = refit_nodes(model, service.features, parts, former, tuple(retrained))
    else:
        prepared = _prepared(stores, model, inner_features(model, service.features), later, record["summary"], stages)
        prepared = replace(prepared, task=replace(prepared.task, computed=device.update))
        if model.partition_by:
            made = fit_partitioned(model, service.features, parts, prepared, lambda done, total: None)
        else:
            made = fit_prepared(model, prepared)
    files = {f"{SERVABLE}{name}": data for name, data in made.files.items()}
    files |= {f"{LEARNED}{name}": data for name, data in made.learned.items()}
    recorded = {
        name: str(entry["sha256"]) for name, entry in record["files"].items() if name.startswith((SERVABLE, LEARNED))
    }
    compared = [Compared("training set", kept.digest, digest_frame(rebuilt))]
    for name in sorted({*recorded, *files}):
        digest = digest_bytes(files[name]) if name in files else "(absent)"
        compared.append(Compared(name, recorded.get(name, "(absent)"), digest))
    return Reproduction(str(version), tuple(compared), differing_environment(record["environment"], device))


def _prepared(
    stores: Stores,
    model: Model,
    features: tuple[str, ...],
    parts: Mapping[str, Rows],
    begun: Mapping[str, Any],
    stages: tuple[Stage, ...],
) -> Prepared:
    """What the trainer was given, of rows and of the version that it went on from."""
    start = resolve(stores, begun["start"]) if begun.get("start") else None
    if start is None:
        prepared = prepare(model, features, parts, stages=stages)
    else:
        former = former_of(stores, start, model, features)
        rows = unseen(parts, model.label, begun["seen"], start) if begun.get("seen") else parts
        prepared = begun_with(stores, prepare(model, features, rows, former=former, stages=stages), start, former)
    team = Team(
        begun.get("workers", 1),
        begun.get("servers", 0),
        begun.get("cluster"),
        evaluator=begun.get("evaluator", False),
    )
    return on_engine(stores, replace(prepared, task=replace(prepared.task, team=team)))


def with_trainer(model: Model, parameters: Mapping[str, Any]) -> Model:
    return replace(model, trainer=with_parameters(model.trainer, parameters))


def diff_versions(stores: Stores, one: ModelVersion, other: ModelVersion) -> list[tuple[str, Any, Any]]:
    """What made two versions what they are, where it differs: configuration, data, code and environment."""
    first, second = (_made_of(read_record(stores, version)) for version in (one, other))
    return differences(first, second)


def _made_of(record: Mapping[str, Any]) -> dict[str, Any]:
    configuration = {name: value for name, value in record["configuration"].items() if name != "run"}
    datasets = {name: record["datasets"][name] for name in ("training_set", "sources", "feature_tables")}
    code = {name: value for name, value in record["code"].items() if name != "command"}
    return {
        "configuration": configuration,
        "datasets": datasets,
        "code": code,
        "environment": record["environment"],
        "metrics": {name: value["value"] for name, value in record["metrics"]["test"].items()},
    }


def differing_environment(
    recorded: Mapping[str, Any], device: Mapping[str, Any]
) -> dict[str, tuple[str | None, str | None]]:
    """The installed distributions that are others than those of a record, and under `device` what a fit computed on
    then and now, where that is another."""
    then, here = recorded["distributions"], environment()["distributions"]
    found = {n: (then.get(n), here.get(n)) for n in sorted({*then, *here}) if then.get(n) != here.get(n)}
    before = recorded.get("device")
    if before and device and dict(before) != dict(device):
        return {"device": (_told(before), _told(device)), **found}
    return found


def _told(device: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in device.values())
