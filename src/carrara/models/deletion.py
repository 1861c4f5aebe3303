"""Deleting a version: refused while anything leads to it. Its number is never given again."""

from __future__ import annotations

from sqlalchemy import Connection, select

from carrara.core.errors import CheckFailed
from carrara.metadata.aliases import pointed_at, refuse_deleted
from carrara.metadata.audit import record
from carrara.metadata.tables import deployments, lineage, model_values, steps, versions
from carrara.metadata.versions import delete_version
from carrara.models.registry import KIND, ModelVersion
from carrara.storage.stores import Stores


def delete(stores: Stores, version: ModelVersion) -> None:
    """Delete a version; CheckFailed names every endpoint, alias and version that needs it.

    Its files stay until `carrara gc`; that it was there, what it was made from and what it served stay recorded.
    """
    with stores.metadata.begin() as connection:
        refuse_deleted(connection, version.model, version.version)
        needed = [*_serving(connection, version), *_pointing(connection, version), *_begun_from(connection, version)]
        if needed:
            raise CheckFailed(f"{version} cannot be deleted: it is needed", needed)
        delete_version(connection, KIND, version.model, version.version)
        record(connection, "delete", f"{KIND}:{version}", manifest=version.manifest)
        this = (model_values.c.model == version.model) & (model_values.c.version == version.version)
        connection.execute(model_values.delete().where(this))
        # A training that would end in this version is not done, and what it fitted need not be kept for it.
        forgotten = steps.c.name.in_(["train", "evaluate", "register"])
        connection.execute(steps.delete().where(steps.c.run_id == version.run_id, forgotten))


def _serving(connection: Connection, version: ModelVersion) -> list[str]:
    this = (deployments.c.model == version.model) & (deployments.c.version == version.version)
    query = select(deployments.c.endpoint).where(this, deployments.c.ended_at.is_(None))
    return [f"endpoint {name} serves it: deploy another version to it" for name in connection.execute(query).scalars()]


def _pointing(connection: Connection, version: ModelVersion) -> list[str]:
    aliases = pointed_at(connection, version.model)
    names = [alias for alias, number in aliases.items() if number == version.version]
    return [f"{version.model}@{name} is it: point {name} at another version, or remove it" for name in names]


def _begun_from(connection: Connection, version: ModelVersion) -> list[str]:
    """Versions that were warm-started from it: they could not be reproduced without it."""
    edges = select(lineage.c.target).where(lineage.c.source == f"{KIND}:{version}").distinct()
    targets = set(connection.execute(edges).scalars())
    there = select(versions.c.name, versions.c.version).where(
        versions.c.kind == KIND, versions.c.deleted_at.is_(None), versions.c.name.in_({_name(t) for t in targets})
    )
    live = {f"{KIND}:{row.name}@{row.version}" for row in connection.execute(there)} if targets else set()
    return [f"{address.removeprefix('model:')} began from it: delete that first" for address in sorted(targets & live)]


def _name(address: str) -> str:
    return address.partition(":")[2].rpartition("@")[0]
