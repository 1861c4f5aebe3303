"""The stores that a workspace names, opened once and given to every room that needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from carrara.core.clock import Clock, now
from carrara.core.config import Configuration, DeploymentsSection, EngineSection
from carrara.metadata.openlineage import OpenLineage
from carrara.metadata.store import Metadata
from carrara.metadata.versions import has_versions
from carrara.storage.artifacts import ArtifactStore
from carrara.storage.lake import Lake
from carrara.storage.online.base import OnlineStore, open_online_store

IN_LAKE, IN_ARTIFACTS = ("dataset", "feature_table", "training_set"), ("model",)
"""The kinds of versions whose rows, or files, lie there."""


@dataclass(frozen=True)
class Stores:
    """Metadata, lake, artifacts and online store, the addresses of engines, and the clock that everything reads.

    `page` is where people reach the workspace's page, where that is known; `checks` are what every deployment needs.
    """

    metadata: Metadata
    lake: Lake
    artifacts: ArtifactStore
    online_address: str
    root: Path
    clock: Clock = now
    engines: EngineSection = field(default_factory=EngineSection)
    page: str = ""
    checks: DeploymentsSection = field(default_factory=DeploymentsSection)

    @cached_property
    def online(self) -> OnlineStore:
        """Opened at first use: a command that only lists models needs no online store."""
        return open_online_store(self.online_address, self.root)

    def close(self) -> None:
        if "online" in self.__dict__:
            self.online.close()
        self.metadata.close()


def open_stores(configuration: Configuration, clock: Clock = now, *, at_once: bool = True) -> Stores:
    """Open what `carrara.toml` names; relative addresses start at its folder.

    Without `at_once` the metadata store may be away until it is first used.
    """
    named, root = configuration.stores, configuration.root
    told = OpenLineage.configured(
        configuration.lineage.openlineage, configuration.lineage.namespace or configuration.name, root
    )
    metadata = Metadata(_below(root, named.metadata), told.told if told is not None else None, at_once=at_once)
    lake, artifacts = (one if "://" in one else str(root / one) for one in (named.lake, named.artifacts))
    return Stores(
        metadata=metadata,
        lake=Lake(lake, partial(has_versions, metadata, IN_LAKE)),
        artifacts=ArtifactStore(artifacts, partial(has_versions, metadata, IN_ARTIFACTS)),
        online_address=named.online,
        root=root,
        clock=clock,
        engines=configuration.engine,
        page=configuration.ui.url.rstrip("/"),
        checks=configuration.deployments,
    )


def _below(root: Path, url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        parsed = parsed.set(database=str(root / parsed.database))
    return parsed.render_as_string(hide_password=False)
