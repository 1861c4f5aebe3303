"""The models of a tracking server, found by MLflow's own addresses, downloaded, and with the run that logged them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from carrara.core.errors import DataError, NotFoundError, StorageError
from carrara.core.plugins import require
from carrara.models.mlflow.folder import MLMODEL, read_folder
from carrara.models.mlflow.server import TrackingServer
from carrara.models.mlflow.tracking import TrackedModel, TrackedRun, find_model, moment

TRACKING_URI = "MLFLOW_TRACKING_URI"
_LISTED = "1000"


@contextmanager
def found_model(source: str, which: str | None = None) -> Iterator[TrackedModel]:
    """As `find_model`, and of a tracking server, `http://…` or `https://…`, too: what is downloaded is deleted at the
    end of the block.

    A `source` that is an address itself, such as `models:/churn@champion`, is looked up where MLFLOW_TRACKING_URI
    says.
    """
    if source.startswith(("models:/", "runs:/")):
        source, which = _tracked_at(source), source
    if not source.startswith(("http://", "https://")):
        yield find_model(source, which)
        return
    server = TrackingServer.at(source)
    with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
        yield _fetched(server, which or _only(server), Path(folder))


@dataclass(frozen=True)
class _Found:
    """Where the files of a model are, the run that logged it, and the addresses that stand for it."""

    artifacts: str
    run_id: str
    addresses: tuple[str, ...]


def _tracked_at(address: str) -> str:
    if TRACKING_URI not in os.environ:
        hint = f"Name the store, and this by --which; or set {TRACKING_URI}."
        raise NotFoundError("tracking store of MLflow for", address, hint=hint)
    return os.environ[TRACKING_URI]


def _fetched(server: TrackingServer, which: str, folder: Path) -> TrackedModel:
    try:
        found = _resolved(server, which)
    except NotFoundError:
        raise NotFoundError(f"model in {server}", which, _registered(server)) from None
    _download(server, found.artifacts, folder)
    if not (folder / MLMODEL).is_file():
        raise DataError(f"{which} of {server} has no {MLMODEL}")
    run = found.run_id or str(read_folder(folder).described.get("run_id") or "")
    return TrackedModel(folder, _run(server, run) if run else None, found.addresses)


def _only(server: TrackingServer) -> str:
    """The address of the one model that is registered there, its newest version."""
    there = _registered(server)
    models = {address.removeprefix("models:/").partition("@")[0].partition("/")[0] for address in there}
    if not there:
        raise NotFoundError("registered model of MLflow", str(server), hint="Name one of a run: --which runs:/RUN/NAME")
    if len(models) > 1:
        raise DataError(f"{server} has {len(models)} models", hint=f"Name one: --which {' or '.join(there[:6])}")
    return there[0]


def _registered(server: TrackingServer) -> list[str]:
    """The addresses of the registry: of each model its newest versions, and its aliases."""
    found = []
    for model in server.ask("registered-models/search", max_results=_LISTED).get("registered_models", ()):
        versions = sorted((int(one["version"]) for one in model.get("latest_versions", ())), reverse=True)
        found += [f"models:/{model['name']}/{version}" for version in versions]
        found += [f"models:/{model['name']}@{one['alias']}" for one in model.get("aliases", ())]
    return found


def _resolved(server: TrackingServer, which: str) -> _Found:
    """What an address stands for; NotFoundError where it stands for nothing."""
    if which.startswith("runs:/"):
        return _of_run(server, which)
    name, separator, alias = which.removeprefix("models:/").partition("@")
    if name.startswith("m-") and "/" not in name and not separator:
        return _logged(server, name)
    name, _, number = name.partition("/")
    if separator:
        told = server.ask("registered-models/alias", name=name, alias=alias)
    else:
        told = server.ask("model-versions/get", name=name, version=number or _newest(server, name))
    version = told["model_version"]
    source, addresses = str(version.get("source", "")), [f"models:/{name}/{version['version']}"]
    addresses += [which] if separator else []
    if source.startswith("models:/m-"):
        logged = _logged(server, source.removeprefix("models:/"))
        return replace(logged, addresses=(*addresses, *logged.addresses))
    return _Found(source, str(version.get("run_id") or ""), tuple(addresses))


def _newest(server: TrackingServer, name: str) -> str:
    told = server.ask("registered-models/get", name=name)["registered_model"]
    return str(max((int(one["version"]) for one in told.get("latest_versions", ())), default=1))


def _logged(server: TrackingServer, model: str) -> _Found:
    info = server.ask(f"logged-models/{quote(model)}")["model"]["info"]
    return _Found(str(info["artifact_uri"]), str(info.get("source_run_id") or ""), (model,))


def _of_run(server: TrackingServer, which: str) -> _Found:
    """A model by its run: one that MLflow 3 keeps apart, by its name; before, a folder among the run's artifacts."""
    run_id, _, place = which.removeprefix("runs:/").strip("/").partition("/")
    told = server.ask("runs/get", run_id=run_id)["run"]
    for one in (told.get("outputs") or {}).get("model_outputs", ()):
        info = server.ask(f"logged-models/{quote(str(one['model_id']))}")["model"]["info"]
        if info.get("name") == place:
            return _Found(str(info["artifact_uri"]), run_id, (str(one["model_id"]), which))
    return _Found(f"{told['info']['artifact_uri']}/{place}", run_id, (which,))


def _run(server: TrackingServer, run_id: str) -> TrackedRun:
    told = server.ask("runs/get", run_id=run_id)["run"]
    info: Mapping[str, Any] = told["info"]
    data = told.get("data") or {}
    experiment = server.ask("experiments/get", experiment_id=str(info["experiment_id"]))["experiment"]
    tags = _pairs(data.get("tags"))
    return TrackedRun(
        id=run_id,
        name=str(info.get("run_name") or ""),
        experiment=str(experiment.get("name") or ""),
        user=tags.get("mlflow.user") or str(info.get("user_id") or ""),
        status=str(info.get("status") or "").lower(),
        started_at=moment(int(info.get("start_time") or 0)),
        ended_at=moment(int(info.get("end_time") or 0)),
        params=_pairs(data.get("params")),
        metrics={name: float(value) for name, value in _pairs(data.get("metrics")).items()},
        tags=tags,
    )


def _pairs(told: Any) -> dict[str, str]:
    return {str(one["key"]): str(one["value"]) for one in told or ()}


def _download(server: TrackingServer, artifacts: str, folder: Path) -> None:
    """Files that the server hands on; else those of a folder that is here as well, or of a store such as s3://."""
    if artifacts.startswith("mlflow-artifacts:"):
        server.download(artifacts, folder)
        return
    if artifacts.startswith(("/", "file:")):
        place = Path(unquote(urlsplit(artifacts).path)) if artifacts.startswith("file:") else Path(artifacts)
        if not place.is_dir():
            raise StorageError(
                f"{server} keeps this model in {place}, which is not on this machine",
                hint="Start it with --artifacts-destination: then it hands its files on.",
            )
        shutil.copytree(place, folder, dirs_exist_ok=True)
        return
    fsspec = require("fsspec", extra="remote", purpose=f"a model in {artifacts.partition(':')[0]}:")
    try:
        system, root = fsspec.core.url_to_fs(artifacts)
        system.get(root.rstrip("/") + "/", str(folder) + "/", recursive=True)
    except (OSError, ValueError, ImportError) as error:
        raise StorageError(f"{artifacts} cannot be read: {error}") from error
