"""Feast's registry: where a repository keeps it, and its message read without Feast."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.core.errors import DataError, NotFoundError
from carrara.core.messages import message_class
from carrara.core.plugins import require

CONFIGURATION = "feature_store.yaml"
_DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")
_EXTRA, _PURPOSE = "feast", "importing from Feast"
_DEFAULT_PATH = "data/registry.db"
_SCHEMA_VERSION = "1"
_SQLITE = b"SQLite format 3\x00"
_TO_A_FILE = (
    "Write it to a file where Feast is installed, and import that file: "
    "Path('registry.db').write_bytes(feast.FeatureStore('.').registry.proto().SerializeToString())"
)


@dataclass(frozen=True)
class RegistryFile:
    """A registry's file, the folder that its sources' paths start from, and the project, where a file names it."""

    file: Path
    repository: Path
    project: str | None = None


def find_registry(path: Path) -> RegistryFile:
    """The registry of a repository's folder, or `path` itself where it is a file."""
    if path.is_dir():
        return _of_repository(path)
    if not path.is_file():
        raise DataError(f"there is no {path}", hint="Name a Feast repository's folder, or its registry file.")
    above = (folder for folder in path.resolve().parents if (folder / CONFIGURATION).is_file())
    return RegistryFile(path, next(above, path.resolve().parent))


def read_registry(file: Path) -> Any:
    """The `feast.core.Registry` that a file holds; DataError names the file."""
    message = message_class(_DESCRIPTORS, "feast.core.Registry", extra=_EXTRA, purpose=_PURPOSE)
    from google.protobuf.message import DecodeError

    content = file.read_bytes()
    if content.startswith(_SQLITE):
        raise DataError(f"{file} is an SQL registry, and only Feast's registry file can be read", hint=_TO_A_FILE)
    try:
        registry = message.FromString(content)
    except DecodeError as error:
        raise DataError(f"{file} is no Feast registry, or it is damaged: {error}") from None
    # Any bytes may happen to be fields of some message: every registry that Feast writes says its version.
    if registry.registry_schema_version != _SCHEMA_VERSION:
        version = registry.registry_schema_version or "none"
        raise DataError(
            f"{file} is no Feast registry, or it is damaged: its version is {version}, not {_SCHEMA_VERSION}",
            hint="Name the file that `registry` in feature_store.yaml names.",
        )
    return registry


def project_of(registry: Any, found: RegistryFile, asked: str | None) -> str:
    """The project to import: the one that was asked for, the configuration's, or the only one."""
    known = sorted(projects(registry))
    wanted = asked or found.project
    if wanted is not None and wanted not in known:
        raise NotFoundError("project", wanted, known, where=str(found.file))
    if wanted is None and len(known) != 1:
        if not known:
            raise DataError(f"{found.file} holds nothing", hint="Fill it: feast apply.")
        raise DataError(f"{found.file} holds the projects {', '.join(known)}", hint="Say which: --project NAME.")
    return wanted or known[0]


def projects(registry: Any) -> set[str]:
    """The projects that anything in the registry belongs to."""
    return {item.project for _, items in everything(registry) for item in items} - {""}


def everything(registry: Any) -> Iterator[tuple[str, list[Any]]]:
    """All that a registry can declare, as kinds and specs."""
    for field, kind in _KINDS.items():
        yield kind, [item.spec if hasattr(item, "spec") else item for item in getattr(registry, field)]


_KINDS = {
    "entities": "entity",
    "data_sources": "source",
    "feature_views": "feature view",
    "feature_services": "feature service",
    "stream_feature_views": "stream feature view",
    "on_demand_feature_views": "on-demand feature view",
    "label_views": "label view",
    "feature_tables": "feature table",
    "saved_datasets": "saved dataset",
    "validation_references": "validation reference",
    "permissions": "permission",
}


def _of_repository(folder: Path) -> RegistryFile:
    file = folder / CONFIGURATION
    if not file.is_file():
        below = sorted(folder.glob(f"*/{CONFIGURATION}"))
        hint = f"Did you mean {below[0].parent}?" if below else "Name the folder in which `feast apply` is run."
        raise DataError(f"{folder} is no Feast repository: it has no {CONFIGURATION}", hint=hint)
    settings = _settings(file)
    registry = folder / _registry_path(settings.get("registry", _DEFAULT_PATH), file)
    if not registry.is_file():
        raise DataError(f"the registry {registry} that {file} names is not there", hint="Make it: feast apply.")
    project = settings.get("project")
    return RegistryFile(registry, folder.resolve(), None if project is None else str(project))


def _settings(file: Path) -> dict[str, Any]:
    yaml = require("yaml", extra=_EXTRA, purpose=f"reading {CONFIGURATION}")
    try:
        # Feast fills in the environment's variables as well.
        settings = yaml.safe_load(os.path.expandvars(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise DataError(f"{file} does not configure a Feast repository: it holds no settings")
    return settings


def _registry_path(setting: Any, file: Path) -> str:
    """The path that `registry` says, which is a path or settings with one."""
    settings = setting if isinstance(setting, dict) else {"path": setting}
    kind = settings.get("registry_type") or "file"
    path = str(settings.get("path") or _DEFAULT_PATH).removeprefix("file://")
    if kind != "file":
        raise DataError(f"the registry of {file} is of type '{kind}', and only a file can be read", hint=_TO_A_FILE)
    if "://" in path:
        # The address of a database may hold its password.
        raise DataError(
            f"the registry of {file} is at {path.partition('://')[0]}://…, and only a local file can be read",
            hint="Copy it here and import the copy." if path.startswith(("s3", "gs", "az", "http")) else _TO_A_FILE,
        )
    return path
