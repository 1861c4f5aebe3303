"""Brings data and features up to date: the datasets, then the feature tables, then the online store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from carrara.core.definitions import Definitions
from carrara.core.errors import NotFoundError
from carrara.core.progress import Progress, Step
from carrara.data.ingest import Ingested, in_order, ingest
from carrara.features.entities import Entity
from carrara.features.materialise import Materialised, materialise
from carrara.features.model_features import features_of_model
from carrara.features.offline import FeatureTable, compute_feature_table
from carrara.features.service import StoredView, definition_digest
from carrara.metadata.deployments import current_deployments
from carrara.models.address import ModelAddress
from carrara.models.registry import recorded_definitions, resolve
from carrara.storage.stores import Stores


def ingest_for(
    stores: Stores,
    definitions: Definitions,
    names: Iterable[str],
    *,
    accept_schema: bool = False,
    progress: Progress | None = None,
) -> list[Ingested]:
    """Ingest these datasets, each after its inputs; `accept_schema` concerns those that are named."""
    named, wanted, done = list(names), set(), []
    for name in named:
        wanted |= _with_inputs(definitions, name)
    for name in in_order(definitions):
        if name in wanted:
            with (progress or Progress()).step(name) as step:
                accepts = accept_schema and name in named
                done.append(ingest(stores, definitions, name, accept_schema=accepts, step=step))
                describe_ingest(step, done[-1])
    return done


def describe_ingest(step: Step, done: Ingested) -> None:
    """Say in a step's line what an ingest made."""
    version = done.version
    step.reused = done.reused
    step.said = f"{version.name}@{version.version}, {version.rows:,} rows"
    if version.added != version.rows and not done.reused:
        step.said += f", {version.added:,} of them new"
    if version.anomalies and not done.reused:
        step.said += f", {len(version.anomalies)} anomalies"
    if version.quarantined and not done.reused:
        step.said += f", {version.quarantined:,} in quarantine"


def compute_features(stores: Stores, definitions: Definitions, views: Iterable[StoredView]) -> list[FeatureTable]:
    """Compute the tables of these views over the newest versions of their datasets."""
    return [compute_feature_table(stores, definitions, view) for view in views]


def materialise_views(
    stores: Stores, definitions: Definitions, views: Iterable[StoredView], until: datetime, *, rebuild: bool = False
) -> list[Materialised]:
    """Bring the online rows of these views up to `until`."""
    return [materialise(stores, view, entity_of(definitions, view), until, rebuild=rebuild) for view in views]


def refresh_former_views(stores: Stores, views: Sequence[StoredView], until: datetime) -> list[Materialised]:
    """Compute and materialise the former definitions of these views that deployed models still read."""
    done = []
    for recorded, view in former_views(stores, views):
        compute_feature_table(stores, recorded, view)
        done.append(materialise(stores, view, entity_of(recorded, view), until))
    return done


def former_views(stores: Stores, views: Sequence[StoredView]) -> list[tuple[Definitions, StoredView]]:
    """Other definitions of these views that what is deployed was trained with, each once, with all around them."""
    now = {view.name: definition_digest(view) for view in views}
    found: dict[tuple[str, str], tuple[Definitions, StoredView]] = {}
    for deployed in current_deployments(stores.metadata):
        version = resolve(stores, ModelAddress(deployed.model, deployed.version))
        recorded = recorded_definitions(stores, version)
        model = recorded.of_kind("model")[version.model]
        for view, _ in features_of_model(recorded, model, where=f"model '{version}'").stored:
            digest = definition_digest(view)
            if view.name in now and digest != now[view.name]:
                found[view.name, digest] = (recorded, view)
    return list(found.values())


def entity_of(definitions: Definitions, view: StoredView) -> Entity:
    """The entity that a view describes."""
    return definitions.get("entity", view.entity, Entity, where=f"feature view '{view.name}'")


def stored_views(definitions: Definitions, names: Sequence[str] = ()) -> list[StoredView]:
    """The views that have tables, by name, or all of them."""
    views: dict[str, StoredView] = definitions.of_kind("feature view")
    for name in names:
        if name not in views:
            raise NotFoundError("feature view", name, views)
    return [views[name] for name in names or views]


def _with_inputs(definitions: Definitions, name: str) -> set[str]:
    declared = definitions.of_kind("dataset").get(name)
    if declared is None:
        raise NotFoundError("dataset", name, definitions.of_kind("dataset"))
    found = {name}
    for other in declared.inputs:
        found |= _with_inputs(definitions, other)
    return found
