"""Deployments: which model version an endpoint serves, from when to when, by whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.html import html_table
from carrara.core.identity import current_user
from carrara.metadata.aliases import point, pointed_at, refuse_deleted
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import deployments


@dataclass(frozen=True)
class Deployment:
    endpoint: str
    model: str
    version: int
    deployed_by: str
    started_at: datetime
    ended_at: datetime | None

    def _repr_html_(self) -> str:
        row = (f"{self.model}@{self.version}", self.deployed_by, self.started_at, self.ended_at)
        return html_table(self.endpoint, ["serves", "by", "from", "to"], [row])


def deploy(metadata: Metadata, endpoint: str, model: str, version: int, *, alias: str | None = None) -> Deployment:
    """Make `endpoint` serve this version from now on; what it served before ends at the same moment.

    In the same transaction `alias` is pointed at the version. NotFoundError where it was deleted meanwhile.
    """
    moment, user = microseconds(now()), current_user()
    with metadata.begin() as connection:
        refuse_deleted(connection, model, version)
        if alias is not None and pointed_at(connection, model).get(alias) != version:
            point(connection, model, alias, version)
        current = (deployments.c.endpoint == endpoint) & deployments.c.ended_at.is_(None)
        row = connection.execute(select(deployments).where(current)).mappings().one_or_none()
        if row is not None and (row["model"], row["version"]) == (model, version):
            return _deployment(row)
        connection.execute(update(deployments).where(current).values(ended_at=moment))
        made = Deployment(endpoint, model, version, user, from_microseconds(moment), None)
        connection.execute(insert(deployments).values({**vars(made), "started_at": moment}))
        before = f"{row['model']}@{row['version']}" if row is not None else None
        record(connection, "deploy", f"endpoint:{endpoint}", serves=f"{model}@{version}", before=before)
    return made


def current_deployments(metadata: Metadata) -> list[Deployment]:
    """What every endpoint serves now."""
    query = select(deployments).where(deployments.c.ended_at.is_(None)).order_by(deployments.c.endpoint)
    with metadata.read() as connection:
        return [_deployment(row) for row in connection.execute(query).mappings()]


def deployments_of(metadata: Metadata, model: str, version: int) -> list[Deployment]:
    """Every deployment of one model version, past ones too."""
    query = select(deployments).where(deployments.c.model == model, deployments.c.version == version)
    with metadata.read() as connection:
        return [_deployment(row) for row in connection.execute(query.order_by(deployments.c.id)).mappings()]


def deployments_at(metadata: Metadata, endpoint: str, limit: int = 50) -> list[Deployment]:
    """What an endpoint serves and served, the newest first."""
    query = select(deployments).where(deployments.c.endpoint == endpoint).order_by(deployments.c.id.desc()).limit(limit)
    with metadata.read() as connection:
        return [_deployment(row) for row in connection.execute(query).mappings()]


def _deployment(row: Any) -> Deployment:
    values = {k: v for k, v in row.items() if k != "id"}
    ended = from_microseconds(row["ended_at"]) if row["ended_at"] is not None else None
    return Deployment(**{**values, "started_at": from_microseconds(row["started_at"]), "ended_at": ended})
