"""Feature tables: a view's prepared rows in the lake, by version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from carrara.core.definitions import Definitions
from carrara.core.digests import digest_data
from carrara.core.errors import DataError
from carrara.core.figures import when
from carrara.core.html import card
from carrara.data.columns_table import columns_table
from carrara.data.versions import dataset_version
from carrara.features.engines.base import feature_engine
from carrara.features.entities import Entity
from carrara.features.rows import CREATED, readable
from carrara.features.service import StoredView, definition_digest
from carrara.metadata.runs import run
from carrara.metadata.versions import Version, add_version, find_version, list_versions
from carrara.storage.lake import Lake
from carrara.storage.stores import Stores

KIND = "feature_table"


@dataclass(frozen=True)
class FeatureTable:
    """One computed version of a view's table; `definition` is the digest of the view's spec, `pushes` the version of
    the view's push log that went into it."""

    view: str
    version: int
    definition: str
    digest: str
    rows: int
    statistics: dict[str, Any]
    lake_version: int
    computed_at: datetime
    pushes: int | None = None
    reused: bool = False

    @property
    def address(self) -> str:
        return f"{KIND}:{self.view}@{self.version}"

    def _repr_html_(self) -> str:
        lead = f"{self.rows:,} rows, computed {when(self.computed_at)} UTC"
        return card(f"{self.view}@{self.version}", columns_table(self.statistics), lead=lead)


def compute_feature_table(stores: Stores, definitions: Definitions, view: StoredView) -> FeatureTable:
    """Compute a view over the newest version of its dataset and what was pushed to it, unless exactly that is in the
    lake already."""
    entity = definitions.get("entity", view.entity, Entity, where=f"feature view '{view.name}'")
    source, pushes = dataset_version(stores, view.source), stores.lake.compact(push_log(view))
    key = digest_data([definition_digest(view), entity.spec(), source.digest, pushes])
    newest = _newest_of(stores, view)
    if newest is not None and newest.record["key"] == key:
        return _table(newest, reused=True)
    with run(stores.metadata, "compute", view.name, {"dataset": [source.name, source.version]}) as run_id:
        made_of = feature_engine(stores).compute(stores, view, entity, source, pushes)
        record = {
            "key": key,
            "definition": definition_digest(view),
            "rows": made_of.rows,
            "statistics": made_of.statistics,
            "lake_version": made_of.lake_version,
            "pushes": pushes,
        }
        sources, digest = [source.address], made_of.digest
        made = add_version(
            stores.metadata, KIND, view.name, digest=digest, run_id=run_id, record=record, sources=sources
        )
    return _table(made)


def current_table(stores: Stores, view: StoredView) -> FeatureTable:
    """The newest table of exactly this definition; DataError when it was not computed."""
    newest = newest_table(stores, view)
    if newest is not None:
        return newest
    raise DataError(
        f"feature view '{view.name}' has not been computed as it is defined now",
        hint=f"carrara feature compute {view.name}",
    )


def newest_table(stores: Stores, view: StoredView) -> FeatureTable | None:
    """The newest table of exactly this definition, where there is one."""
    found = _newest_of(stores, view)
    return _table(found) if found is not None else None


def former_table(stores: Stores, view: StoredView, version: int | None) -> FeatureTable | None:
    """A version of a view's table, where there is one."""
    found = find_version(stores.metadata, KIND, view.name, version) if version else None
    return _table(found) if found is not None else None


def list_feature_tables(stores: Stores) -> list[FeatureTable]:
    """Every version of every feature table, oldest first."""
    return [_table(found) for found in list_versions(stores.metadata, KIND)]


def scan_table(stores: Stores, table: FeatureTable) -> pl.LazyFrame:
    """The prepared rows: keys, EVENT_TIME, KNOWN_AT, and the features (or an aggregate view's columns)."""
    return stores.lake.scan(lake_table(table.view), table.lake_version)


def whole_number_keys(stores: Stores, entity: Entity, table: FeatureTable) -> tuple[str, ...]:
    """The entity's keys that are whole numbers in this table; the others are texts."""
    schema = scan_table(stores, table).collect_schema()
    return tuple(key for key in entity.keys if schema[key].is_integer())


def read_pushed(lake: Lake, view: StoredView, entity: Entity, table: FeatureTable) -> pl.DataFrame | None:
    """What was pushed to a view since its table was computed, in the columns of `scan_table`; None for nothing."""
    log = push_log(view)
    newest = lake.newest(log)
    if newest is None or newest == table.pushes:
        return None
    return readable(view, entity, lake.scan_appended(log, after=table.pushes)).drop(CREATED)


def lake_table(view: str) -> str:
    return f"features/{view}"


def push_log(view: StoredView) -> str:
    """The lake's table of all that was ever pushed to a view of this name."""
    return f"pushes/{view.name}"


def key_types(stores: Stores, view: StoredView, entity: Entity) -> dict[str, pl.DataType]:
    """The types that a view's keys have in its push log or its table; none where there is neither."""
    table = newest_table(stores, view)
    if stores.lake.exists(push_log(view)):
        schema = stores.lake.scan(push_log(view)).collect_schema()
    elif table is not None:
        schema = scan_table(stores, table).collect_schema()
    else:
        return {}
    return {key: schema[key] for key in entity.keys}


def _newest_of(stores: Stores, view: StoredView) -> Version | None:
    """The newest table of exactly this definition: a model may still read a former one, beside the newest."""
    definition, found = definition_digest(view), list_versions(stores.metadata, KIND, view.name)
    return next((one for one in reversed(found) if one.record["definition"] == definition), None)


def _table(found: Version, reused: bool = False) -> FeatureTable:
    record = {k: v for k, v in found.record.items() if k != "key"}
    return FeatureTable(
        view=found.name,
        version=found.version,
        digest=found.digest,
        computed_at=found.created_at,
        reused=reused,
        **record,
    )
