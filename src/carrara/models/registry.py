"""The registry: model versions, registered whole or not at all, and opened only when every byte is right."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from carrara.core.clock import from_microseconds
from carrara.core.definitions import Definitions, load_recorded_definitions
from carrara.core.errors import CarraraError, NotFoundError, StorageError
from carrara.core.failpoints import reach
from carrara.core.figures import when, words
from carrara.core.html import card, figures, note, state
from carrara.core.names import check_name
from carrara.core.svg import Html
from carrara.metadata import deployments, lineage
from carrara.metadata.aliases import alias_history, current_aliases
from carrara.metadata.decisions import decisions_of
from carrara.metadata.model_search import FoundVersion, Page, search_models
from carrara.metadata.model_values import TAG, Value, add_values, flattened, said_of
from carrara.metadata.versions import Version, add_version, find_version, get_version
from carrara.models.address import BLESSED, LATEST, ModelAddress, parse_address
from carrara.models.record import ModelRecord, check_record_format
from carrara.models.runtimes.base import Servable, open_servable
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import DEFINITIONS, LEARNED, RECORD, SERVABLE, WARM_UP
from carrara.storage.stores import Stores

KIND = "model"


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; `manifest` is the digest under which all its files are stored.

    `summary` is JSON text with `format`, `metrics` and `gates_passed`: a list of thousands reads none of it.
    """

    model: str
    version: int
    manifest: str
    run_id: str
    registered_at: datetime
    summary: str

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def format(self) -> str:
        return str(self._summary["format"])

    @property
    def metrics(self) -> dict[str, float | None]:
        return dict(self._summary["metrics"])

    @property
    def gates_passed(self) -> bool:
        return bool(self._summary["gates_passed"])

    @cached_property
    def _summary(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.summary)
        return found

    def _repr_html_(self) -> str:
        passed = state("gates passed", "good") if self.gates_passed else state("a gate failed", "bad")
        told = escape(f" · {self.format}, registered {when(self.registered_at)} UTC")
        more = f"The whole record, with its charts: workspace.models.record('{self}')"
        shown = {words(name): value for name, value in self.metrics.items()}
        return card(str(self), figures(shown), note(more), lead=Html(passed + told))

    def as_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("model", "version", "manifest", "run_id")}
        return {**own, "registered_at": self.registered_at.isoformat(), **self._summary}


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
    key: str | None = None,
    said: Mapping[str, str] | None = None,
    warm_up: bytes = b"",
) -> ModelVersion:
    """Register the next version of a model in one atomic step: complete, checksummed and loadable, or absent.

    The files are stored and verified first; the row that makes them a version is written last. `key` names the
    request: one that is made again, because its answer was lost, gets the version that it made. `said` is
    what people say of it, `warm_up` are requests that a server runs before it serves the version.
    """
    check_name("model", record.model)
    files = {f"{SERVABLE}{name}": data for name, data in servable.items()}
    files |= {f"{LEARNED}{name}": data for name, data in learned.items()}
    files |= {f"{DEFINITIONS}{name}": text.encode() for name, text in definitions.items()}
    files |= {WARM_UP: warm_up} if warm_up else {}
    files[RECORD] = msgspec.json.encode(record.as_dict())
    told = record.as_dict()
    return register_files(stores, told, files, format=format, run_id=run_id, sources=sources, key=key, said=said)


def register_files(
    stores: Stores,
    record: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    format: str,
    run_id: str,
    sources: list[str],
    key: str | None,
    said: Mapping[str, str] | None = None,
) -> ModelVersion:
    """As `register`, of files that are laid out already; their record is `record`, and people say `said` of it."""
    measured = {name: value["value"] for name, value in record["metrics"]["test"].items()}
    elsewhere = {name: value for name, value in record["metrics"].get("imported", {}).items() if name not in measured}
    summary = {
        "format": format,
        "metrics": {**measured, **elsewhere},
        "gates_passed": bool(record["gates"]["passed"]),
    }

    def beside(connection: Connection, made: Version) -> None:
        add_values(connection, made.name, made.version, {**_values(record, summary), **(said or {})})

    reach("register.before-files")
    with stores.artifacts.kept():
        manifest = stores.artifacts.put_files(files)
        reach("register.after-files")
        stores.artifacts.verify(manifest)
        made = add_version(
            stores.metadata,
            KIND,
            record["model"],
            digest=manifest,
            run_id=run_id,
            record=summary,
            sources=sources,
            key=key,
            beside=beside,
        )
    reach("register.after-commit")
    return _model_version(made)


def _values(record: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Value]:
    """What a version can be searched by."""
    configuration = record["configuration"]
    sources = record["datasets"].get("sources", {})
    values: dict[str, Value] = {
        "format": summary["format"],
        "gates_passed": summary["gates_passed"],
        "trained_by": record["trained_by"],
        "kind": (configuration.get("label") or {}).get("kind"),
        "owner": configuration.get("owner") or None,
        "description": configuration.get("description") or None,
        **flattened("metrics", summary["metrics"]),
        **flattened("parameters", configuration.get("trainer") or {}),
        **{f"datasets.{name}": found["version"] for name, found in sources.items()},
    }
    return {name: value for name, value in values.items() if value is not None}


def resolve(stores: Stores, address: str | ModelAddress) -> ModelVersion:
    """The version that an address stands for; NotFoundError names the nearest model, alias or versions."""
    wanted = parse_address(address) if isinstance(address, str) else address
    version = wanted.version
    if wanted.alias is not None:
        get_version(stores.metadata, KIND, wanted.model)
        aliases = current_aliases(stores.metadata, wanted.model)
        # An alias that was pointed before its name meant something still leads where it did.
        if wanted.alias == BLESSED and BLESSED not in aliases:
            return _newest_blessed(stores, wanted.model)
        if wanted.alias != LATEST and wanted.alias not in aliases:
            raise NotFoundError("alias", wanted.alias, {*aliases, BLESSED, LATEST}, where=f"model '{wanted.model}'")
        version = aliases.get(wanted.alias)
    return _model_version(get_version(stores.metadata, KIND, wanted.model, version))


def list_models(stores: Stores, model: str | None = None, page: Page | None = None) -> list[ModelVersion]:
    """The versions of every model, or of one; without a page all of them, the oldest first."""
    return [_listed(found) for found in search_models(stores.metadata, model, page or Page(sort="registered_at"))]


def champion(stores: Stores, model: str) -> ModelVersion | None:
    """The version that the alias `champion` points at, if there is one."""
    version = current_aliases(stores.metadata, model).get("champion")
    found = find_version(stores.metadata, KIND, model, version) if version is not None else None
    return _model_version(found) if found is not None else None


def find_blessed(stores: Stores, model: str, *, beside: int = 0) -> ModelVersion | None:
    """The newest version whose gates passed or were overridden, and that nobody rejected, if there is one `beside` the
    version of this number."""
    where = f"blessed = true and version != {beside}"
    found = search_models(stores.metadata, model, Page(where, sort="-version", limit=1))
    return _model_version(get_version(stores.metadata, KIND, model, found[0][1])) if found else None


def _newest_blessed(stores: Stores, model: str) -> ModelVersion:
    found = find_blessed(stores, model)
    if found is None:
        hint = f"Each has a gate that failed, or was rejected: carrara model list --where 'model = \"{model}\"'"
        raise NotFoundError("blessed version", f"{model}@{BLESSED}", hint=hint)
    return found


def read_record(stores: Stores, version: ModelVersion) -> dict[str, Any]:
    """The whole record, with what people said of it, the deployments and the lineage that it has by now."""
    record = written_record(stores, version)
    metadata, said = stores.metadata, said_of(stores.metadata, [(version.model, version.version)])
    about = said.get((version.model, version.version), {})
    moves = [move for move in alias_history(metadata, version.model) if move.version == version.version]
    pointing = [alias for alias, to in current_aliases(metadata, version.model).items() if to == version.version]
    return {
        "version": version.version,
        **record,
        "registered_at": version.registered_at.isoformat(),
        "owner": about.get("owner", ""),
        "description": about.get("description", ""),
        "tags": {name.removeprefix(TAG): text for name, text in about.items() if name.startswith(TAG)},
        "aliases": sorted(pointing),
        "alias_history": [{"alias": m.alias, "at": m.moved_at.isoformat(), "by": m.moved_by} for m in moves],
        "approvals": [decision.as_dict() for decision in decisions_of(metadata, version.model, version.version)],
        "files": stores.artifacts.manifest(version.manifest),
        "deployments": [_deployment(d) for d in deployments.deployments_of(metadata, version.model, version.version)],
        "lineage": [edge.as_dict() for edge in lineage.upstream(metadata, f"{KIND}:{version}")],
    }


def written_record(stores: Stores, version: ModelVersion) -> dict[str, Any]:
    """The record as it was written; StorageError where a newer release wrote it."""
    entry = stores.artifacts.manifest(version.manifest)[RECORD]
    try:
        record: dict[str, Any] = msgspec.json.decode(stores.artifacts.get(str(entry["sha256"]), name=RECORD))
    except msgspec.DecodeError as error:
        raise StorageError(f"the record of {version} is none: {error}") from error
    return check_record_format(record, str(version))


def recorded_definitions(stores: Stores, version: ModelVersion) -> Definitions:
    """The definitions as they were when the version was trained, whatever the files say today."""
    files = stores.artifacts.get_files(version.manifest)
    source = {n.removeprefix(DEFINITIONS): d.decode() for n, d in files.items() if n.startswith(DEFINITIONS)}
    found = load_recorded_definitions(source, str(version))
    if (KIND, version.model) in found.objects:
        return found
    # It was imported under another name than the one that it was declared by.
    declared = msgspec.json.decode(files[RECORD]).get("declared_as", version.model)
    return found.renamed(KIND, declared, version.model)


def warm_up_of(stores: Stores, version: ModelVersion) -> bytes:
    """The requests by features that a server runs before it serves the version; empty where none came with it."""
    entry = stores.artifacts.manifest(version.manifest).get(WARM_UP)
    return stores.artifacts.get(str(entry["sha256"]), name=WARM_UP) if entry is not None else b""


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
    record = written_record(stores, version)
    signature = Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    # A runtime has read its files when it is open: the folder may go.
    with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
        stores.artifacts.unpack(version.manifest, Path(folder))
        try:
            return open_servable(version.format, Path(folder) / SERVABLE, signature)
        except CarraraError:
            raise
        except Exception as error:  # each runtime has errors of its own
            told = f"{version} cannot be opened as {version.format}: {type(error).__name__}"
            raise StorageError(f"{told}: {str(error).splitlines()[0] if str(error) else ''}") from error


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
        summary=msgspec.json.encode(found.record).decode(),
    )


def _listed(found: FoundVersion) -> ModelVersion:
    name, version, digest, run_id, created_at, record = found
    return ModelVersion(name, version, digest, run_id, from_microseconds(created_at), record)
