"""The protocol of a feature engine, and how one is found by its address.

What is computed is the same everywhere, since it goes entity by entity: an engine brings an entity's rows together, and
calls the kernels of this room on them. To add an engine: write a class with these methods whose constructor takes the
address, name it in the entry-point group `carrara.feature_engines`, and add it to the conformance tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from carrara.core.plugins import plugin
from carrara.data.versions import DatasetVersion
from carrara.features.entities import Entity
from carrara.features.online import Mark
from carrara.features.service import StoredView
from carrara.storage.stores import Stores

if TYPE_CHECKING:
    from carrara.features.offline import FeatureTable


@dataclass(frozen=True)
class Computed:
    """A prepared table that is in the lake: its rows, what they hold, and their digest."""

    rows: int
    statistics: dict[str, Any]
    digest: str
    lake_version: int


class FeatureEngine(Protocol):
    """Views computed, joined and written online. Raises DataError for rows that are not what a view declares."""

    def compute(
        self, stores: Stores, view: StoredView, entity: Entity, source: DatasetVersion, pushes: int | None
    ) -> Computed:
        """A view over a version of its dataset, and a version of its push log, as a table in the lake."""

    def join(
        self, stores: Stores, view: StoredView, entity: Entity, table: FeatureTable, asked: pl.DataFrame, time: str
    ) -> pl.DataFrame:
        """The view's features at each row's keys and `time`, in the rows' order, as columns `view:feature`."""

    def write_online(
        self, stores: Stores, view: StoredView, entity: Entity, table: FeatureTable, claim: Mark, rebuild: bool
    ) -> int:
        """Bring online what a mark claims, and return how many entities have changed; raises Superseded."""


def feature_engine(stores: Stores) -> FeatureEngine:
    """The engine that `[engine] features` names: `local`, or `spark:MASTER`."""
    return _opened(stores.engines.features)


@cache
def _opened(address: str) -> FeatureEngine:
    engine: FeatureEngine = plugin("carrara.feature_engines", address.partition(":")[0], kind="feature engine")(address)
    return engine
