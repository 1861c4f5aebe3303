"""The registry: model versions, registered whole or not at all, and opened only when every byte is right."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.definitions import Definitions, load_recorded_definitions
from carrara.core.errors import NotFoundError
from carrara.core.html import html_table
from carrara.metadata import deployments, lineage
from carrara.metadata.versions import Version, add_version, find_version, get_version, list_versions
from carrara.models.address import ModelAddress, parse_address
from carrara.models.record import ModelRecord
from carrara.models.runtimes.base import Servable, open_servable
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.storage import Stores

KIND = "model"
_RECORD = "record.json"
_DEFINITIONS = "definitions/"
SERVABLE = "servable/"
LEARNED = "learned/"


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; `manifest` is the digest under which all its files are stored."""

    model: str
    version: int
    manifest: str
    run_id: str
    registered_at: datetime
    format: str
    metrics: dict[str, float | None]
    gates_passed: bool

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    def _repr_html_(self) -> str:
        return html_table(str(self), ["metric", "value"], self.metrics.items())

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "registered_at": self.registered_at.isoformat()}


def register(
    stores: Stores,
    record: ModelRecord,
    *,
    format: str,
    servable: Mapping[str, bytes],
    learned: Mapping[str, bytes],
    definitions: Mapping[str, str],
    run_id: str,
    sources: list[str],
) -> ModelVersion:
    """Register the next version of a model in one atomic step: complete, checksummed and loadable, or absent.

    The files are stored and verified first; the row that makes them a version is written last.
    """
    files = {f"{SERVABLE}{name}": data for name, data in servable.items()}
    files |= {f"{LEARNED}{name}": data for name, data in learned.items()}
    files |= {f"{_DEFINITIONS}{name}": text.encode() for name, text in definitions.items()}
    files[_RECORD] = msgspec.json.encode(record.as_dict())
    manifest = stores.artifacts.put_files(files)
    stores.artifacts.verify(manifest)
    summary = {
        "format": format,
        "metrics": {name: value["value"] for name, value in record.metrics["test"].items()},
        "gates_passed": bool(record.gates["passed"]),
    }
    made = add_version(
        stores.metadata, KIND, record.model, digest=manifest, run_id=run_id, record=summary, sources=sources
    )
    return _model_version(made)


def resolve(stores: Stores, address: str | ModelAddress) -> ModelVersion:
    """The version that an address stands for; NotFoundError names the nearest model, alias or versions."""
    wanted = parse_address(address) if isinstance(address, str) else address
    version = wanted.version
    if wanted.alias is not None:
        get_version(stores.metadata, KIND, wanted.model)
        aliases = deployments.current_aliases(stores.metadata, wanted.model)
        if wanted.alias not in aliases:
            raise NotFoundError("alias", wanted.alias, aliases, where=f"model '{wanted.model}'")
        version = aliases[wanted.alias]
    return _model_version(get_version(stores.metadata, KIND, wanted.model, version))


def list_models(stores: Stores, model: str | None = None) -> list[ModelVersion]:
    """Every version of every model, or of one; oldest first."""
    return [_model_version(found) for found in list_versions(stores.metadata, KIND, model)]


def champion(stores: Stores, model: str) -> ModelVersion | None:
    """The version that the alias `champion` points at, if there is one."""
    version = deployments.current_aliases(stores.metadata, model).get("champion")
    found = find_version(stores.metadata, KIND, model, version) if version is not None else None
    return _model_version(found) if found is not None else None


def read_record(stores: Stores, version: ModelVersion) -> dict[str, Any]:
    """The whole record, with the deployments and the lineage that it has by now."""
    entry = stores.artifacts.manifest(version.manifest)[_RECORD]
    record: dict[str, Any] = msgspec.json.decode(stores.artifacts.get(str(entry["sha256"]), name=_RECORD))
    served = deployments.deployments_of(stores.metadata, version.model, version.version)
    edges = lineage.upstream(stores.metadata, f"{KIND}:{version}")
    return {
        "version": version.version,
        **record,
        "files": stores.artifacts.manifest(version.manifest),
        "deployments": [_deployment(d) for d in served],
        "lineage": [edge.as_dict() for edge in edges],
    }


def recorded_definitions(stores: Stores, version: ModelVersion) -> Definitions:
    """The definitions as they were when the version was trained, whatever the files say today."""
    files = stores.artifacts.get_files(version.manifest)
    source = {n.removeprefix(_DEFINITIONS): d.decode() for n, d in files.items() if n.startswith(_DEFINITIONS)}
    return load_recorded_definitions(source, str(version))


def learned_files(stores: Stores, version: ModelVersion) -> dict[str, bytes]:
    """What a version has learned, as its trainer wrote it down."""
    files = stores.artifacts.get_files(version.manifest)
    return {name.removeprefix(LEARNED): data for name, data in files.items() if name.startswith(LEARNED)}


@contextmanager
def opened(stores: Stores, version: ModelVersion) -> Iterator[Servable]:
    """The version's servable, closed at the end of the block."""
    servable = open_version(stores, version)
    try:
        yield servable
    finally:
        servable.close()


def open_version(stores: Stores, version: ModelVersion) -> Servable:
    """Verify every file of a version and open its servable; CorruptArtifact when a byte is wrong."""
    record = read_record(stores, version)
    signature = Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    # A runtime has read its files when it is open: the folder may go.
    with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
        stores.artifacts.unpack(version.manifest, Path(folder))
        return open_servable(version.format, Path(folder) / SERVABLE, signature)


def _deployment(found: deployments.Deployment) -> dict[str, Any]:
    return {
        "endpoint": found.endpoint,
        "from": found.started_at.isoformat(),
        "to": found.ended_at.isoformat() if found.ended_at else None,
        "by": found.deployed_by,
    }


def _model_version(found: Version) -> ModelVersion:
    return ModelVersion(
        model=found.name,
        version=found.version,
        manifest=found.digest,
        run_id=found.run_id,
        registered_at=found.created_at,
        **found.record,
    )
