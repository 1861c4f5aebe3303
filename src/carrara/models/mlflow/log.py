"""A version as a run, and as a version of a registered model, in MLflow's tracking server; written without MLflow.

experiment      of the model's name
run             who trained it and when, parameters, metrics with the learning curve, tags, and the data that it saw
model/          MLflow's model folder, as `export_mlflow` writes it, among the run's artifacts
registered      a version that leads there
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from carrara.core.errors import NotFoundError, StorageError
from carrara.core.plugins import require
from carrara.metadata.model_values import flattened
from carrara.models.mlflow.export import export_mlflow
from carrara.models.mlflow.server import TrackingServer
from carrara.models.registry import ModelVersion, read_record
from carrara.storage.stores import Stores

_MANIFEST = "carrara.manifest"
"""The tag by which a run is found again: the digest of all of a version's files."""

_MODEL = "model"
_MOST_METRICS, _MOST_NAMED = 1000, 100
_LONGEST_NAME, _LONGEST_PARAMETER, _LONGEST_TAG, _LONGEST_DIGEST = 250, 6000, 8000, 36
_STRANGE = re.compile(r"[^\w./ :-]")


@dataclass(frozen=True)
class Logged:
    """Where a version is in MLflow: `address` is that of the registry there."""

    server: str
    experiment: str
    run_id: str
    address: str

    def as_dict(self) -> dict[str, str]:
        return dict(vars(self))


def log_version(
    stores: Stores,
    version: ModelVersion,
    server: TrackingServer,
    *,
    experiment: str | None = None,
    name: str | None = None,
    report: Callable[[Path], Path],
) -> Logged:
    """Log a version, with the page that `report` writes to a path, and register it under `name`, by default its
    model's; what was logged before is found again.

    A run that does not come to its end is there as a failed one, and no version leads to it. Raises StorageError
    where the server does not answer or does not let this user write.
    """
    experiment, name = experiment or version.model, name or version.model
    identifier = _experiment(server, experiment)
    found = _found(server, identifier, version, name)
    if found is not None:
        return Logged(str(server), experiment, *found)
    record = read_record(stores, version)
    run = server.tell("runs/create", _run(identifier, version, record))["run"]["info"]
    run_id, artifacts, ended = str(run["run_id"]), str(run["artifact_uri"]), "FAILED"
    try:
        for batch in _batches(run_id, version, record):
            server.tell("runs/log-batch", batch)
        server.tell("runs/log-inputs", {"run_id": run_id, "datasets": list(_datasets(record))})
        with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
            _upload(server, export_mlflow(stores, version, Path(folder) / _MODEL), artifacts, _MODEL)
            report(Path(folder) / "page" / "report.html")
            _upload(server, Path(folder) / "page", artifacts)
        number = _registered(server, name, f"{artifacts.rstrip('/')}/{_MODEL}", run_id, version, record)
        ended = "FINISHED"
    finally:
        server.tell("runs/update", {"run_id": run_id, "status": ended, "end_time": _milliseconds(record["ended_at"])})
    return Logged(str(server), experiment, run_id, f"models:/{name}/{number}")


def _experiment(server: TrackingServer, name: str) -> str:
    try:
        found = server.ask("experiments/get-by-name", experiment_name=name)["experiment"]
    except NotFoundError:
        return str(server.tell("experiments/create", {"name": name})["experiment_id"])
    if found.get("lifecycle_stage") == "deleted":
        raise StorageError(
            f"the experiment '{name}' of {server} was deleted", hint="Restore it there, or name another: --experiment"
        )
    return str(found["experiment_id"])


def _found(server: TrackingServer, experiment: str, version: ModelVersion, name: str) -> tuple[str, str] | None:
    """The run and the registered version of an earlier call, where that came to its end."""
    told = {"experiment_ids": [experiment], "filter": f"tags.`{_MANIFEST}` = '{version.manifest}'", "max_results": 100}
    for run in server.tell("runs/search", told).get("runs", ()):
        run_id = str(run["info"]["run_id"])
        listed = server.ask("model-versions/search", filter=f"run_id = '{run_id}'", max_results="100")
        for one in listed.get("model_versions", ()):
            if one["name"] == name:
                return run_id, f"models:/{name}/{one['version']}"
    return None


def _run(experiment: str, version: ModelVersion, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "experiment_id": experiment,
        "user_id": record["trained_by"],
        "run_name": str(version),
        "start_time": _milliseconds(record["started_at"]),
        "tags": _tags(_run_tags(version, record)),
    }


def _run_tags(version: ModelVersion, record: Mapping[str, Any]) -> dict[str, str]:
    code = record.get("code") or {}
    return {
        "mlflow.user": record["trained_by"],
        "mlflow.source.name": "carrara",
        "mlflow.note.content": record["description"],
        "mlflow.source.git.commit": str(code.get("revision") or ""),
        "carrara.version": str(version),
        _MANIFEST: version.manifest,
        "owner": record["owner"],
        "gates_passed": str(version.gates_passed).lower(),
        **record["tags"],
    }


def _batches(run_id: str, version: ModelVersion, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parameters and metrics, so many at once as a server takes."""
    declared = record["configuration"]
    plain = {key: value for key, value in declared.items() if isinstance(value, str | int | float)}
    values = flattened("", {**plain, "trainer": declared.get("trainer") or {}})
    parameters = [
        {"key": _name(name.lstrip(".")), "value": str(value)[:_LONGEST_PARAMETER]} for name, value in values.items()
    ]
    rows = {"params": (parameters, _MOST_NAMED), "metrics": (list(_metrics(version, record)), _MOST_METRICS)}
    for what, (listed, most) in rows.items():
        for start in range(0, len(listed), most):
            yield {"run_id": run_id, what: listed[start : start + most]}


def _metrics(version: ModelVersion, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    at = _milliseconds(record["ended_at"])
    validation = record["metrics"].get("validation") or {}
    last = {**version.metrics, **{f"validation.{name}": told.get("value") for name, told in validation.items()}}
    for name, value in last.items():
        if value is not None and isfinite(value):
            yield {"key": _name(name), "value": value, "timestamp": at, "step": 0}
    for name, values in (record["summary"].get("curve") or {}).items():
        for step, value in enumerate(values):
            if isfinite(value):
                yield {"key": _name(f"curve.{name}"), "value": value, "timestamp": at, "step": step}


def _datasets(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The training set, and the versions of datasets that it is made of."""
    told = record["datasets"]
    kept = told.get("training_set") or {}
    if "digest" in kept:
        yield _input(f"training_set:{record['model']}@{kept['version']}", kept["digest"], "training")
    for name, one in (told.get("sources") or {}).items():
        yield _input(f"dataset:{name}@{one['version']}", one["digest"], "source")


def _input(address: str, digest: str, context: str) -> dict[str, Any]:
    dataset = {"name": address, "digest": digest[:_LONGEST_DIGEST], "source_type": "carrara", "source": address}
    return {"dataset": dataset, "tags": _tags({"mlflow.data.context": context})}


def _registered(
    server: TrackingServer,
    name: str,
    source: str,
    run_id: str,
    version: ModelVersion,
    record: Mapping[str, Any],
) -> str:
    try:
        server.ask("registered-models/get", name=name)
    except NotFoundError:
        server.tell("registered-models/create", {"name": name})
    told = {"name": name, "source": source, "run_id": run_id, "description": record["description"]}
    told |= {"tags": _tags({"carrara.version": str(version), "gates_passed": str(version.gates_passed).lower()})}
    return str(server.tell("model-versions/create", told)["model_version"]["version"])


def _upload(server: TrackingServer, folder: Path, artifacts: str, under: str = "") -> None:
    """The files of a folder by the server, where it takes them; else into a folder that is here as well, or into a
    store such as s3://."""
    artifacts = f"{artifacts.rstrip('/')}/{under}".rstrip("/")
    if artifacts.startswith("mlflow-artifacts:"):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                server.upload(artifacts, path.relative_to(folder).as_posix(), path)
        return
    if artifacts.startswith(("/", "file:")):
        place = Path(unquote(urlsplit(artifacts).path)) if artifacts.startswith("file:") else Path(artifacts)
        try:
            shutil.copytree(folder, place, dirs_exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{server} keeps its files in {place}, which cannot be written here: {error}",
                hint="Start it with --artifacts-destination: then it takes files itself.",
            ) from error
        return
    fsspec = require("fsspec", extra="remote", purpose=f"files in {artifacts.partition(':')[0]}:")
    try:
        system, root = fsspec.core.url_to_fs(artifacts)
        system.put(f"{folder}/", root.rstrip("/") + "/", recursive=True)
    except (OSError, ValueError, ImportError) as error:
        raise StorageError(f"{artifacts} cannot be written: {error}") from error


def _tags(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": _name(key), "value": text[:_LONGEST_TAG]} for key, text in texts.items() if text]


def _name(name: str) -> str:
    """A name that MLflow takes: `recall@0.3` is `recall_at_0.3` there."""
    return _STRANGE.sub("_", name.replace("@", "_at_"))[:_LONGEST_NAME]


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
