"""MLflow's tracking stores, read: a folder of files (`mlruns`) or an SQLite database, and the models in them.

mlruns/EXPERIMENT/RUN/          meta.yaml; params/NAME, metrics/NAME, tags/NAME; artifacts/model in releases before 3
mlruns/EXPERIMENT/models/m-…/   meta.yaml and artifacts/, where MLflow 3 keeps a logged model
mlruns/models/NAME/version-N/   meta.yaml; ../aliases/ALIAS
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from carrara.core.errors import DataError, NotFoundError
from carrara.core.plugins import require
from carrara.models.mlflow.folder import MLMODEL, MlflowFolder, read_folder

_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class TrackedRun:
    """What MLflow knows of a run: its last value of each metric, and params and tags as texts."""

    id: str
    name: str = ""
    experiment: str = ""
    user: str = ""
    status: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedModel:
    """A model in a store: where its folder is, the run that logged it, and the addresses that stand for it."""

    folder: Path
    run: TrackedRun | None = None
    addresses: tuple[str, ...] = ()

    def read(self) -> MlflowFolder:
        return read_folder(self.folder)


def find_model(source: str, which: str | None = None) -> TrackedModel:
    """The model that an address in `source` stands for: `models:/NAME/3`, `models:/NAME@champion`, `runs:/RUN/model` or
    `m-…`; it may be left out where there is one.

    `source` is a model's folder, a folder of runs, or an SQLite database (a path or `sqlite:///…`). NotFoundError
    names the addresses that there are.
    """
    path = _path(source)
    if (path / MLMODEL).is_file():
        if which is not None:
            raise DataError(f"{path} is one model, and not a store of '{which}'", hint="Leave --which out.")
        return _of_folder(path)
    found = list(_models(path, source))
    if which is None and len(found) == 1:
        return found[0]
    addresses = [address for one in found for address in one.addresses]
    for one in found:
        if which is not None and which in one.addresses:
            return one
    if which is None and found:
        raise DataError(f"{source} has {len(found)} models", hint=f"Name one: --which {' or '.join(addresses[:6])}")
    raise NotFoundError("model of MLflow", which or source, addresses, where=source if which else "")


def _path(source: str) -> Path:
    """The path that an address means."""
    if source.startswith("sqlite:///"):
        return Path(source.removeprefix("sqlite:///"))
    return Path(unquote(urlparse(source).path)) if source.startswith("file:") else Path(source)


def _models(path: Path, source: str) -> Iterator[TrackedModel]:
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                raise DataError(f"{source} is no SQLite database")
        return _of_database(path)
    if not path.is_dir():
        raise NotFoundError("folder or database of MLflow", source, hint="A tracking server is http://HOST:PORT.")
    return _of_files(path)


def _of_folder(path: Path) -> TrackedModel:
    """A model's folder, with its run where the folder lies in a store of files."""
    run = str(read_folder(path).described.get("run_id") or "")
    place = path.resolve()
    beside = (parent / run for parent in place.parents[:4]) if run else ()
    home = next((folder for folder in beside if (folder / "meta.yaml").is_file()), None)
    return TrackedModel(path, _run_of_files(home) if home is not None else None)


def _of_files(root: Path) -> Iterator[TrackedModel]:
    registered = list(_registered(root))
    runs: dict[str, TrackedRun] = {}
    for meta in sorted(root.glob("*/*/meta.yaml")):
        if "run_id" in (_yaml(meta) or {}):
            runs[meta.parent.name] = _run_of_files(meta.parent)
    for folder in sorted(root.glob("*/models/m-*")):
        told = _yaml(folder / "meta.yaml")
        if (folder / "artifacts" / MLMODEL).is_file() and told:
            run = runs.get(str(told.get("source_run_id")))
            addresses = _addresses(folder.name, run, str(told.get("name") or "model"))
            yield _named(TrackedModel(folder / "artifacts", run, addresses), registered)
    for path in sorted(root.glob(f"*/*/artifacts/**/{MLMODEL}")):
        place = path.relative_to(root)
        if place.parts[1] in runs:
            run, name = runs[place.parts[1]], Path(*place.parts[3:-1]).as_posix()
            yield _named(TrackedModel(path.parent, run, _addresses("", run, name)), registered)


def _run_of_files(folder: Path) -> TrackedRun:
    told, above = _yaml(folder / "meta.yaml"), _yaml(folder.parent / "meta.yaml")
    tags = dict(_texts(folder / "tags"))
    last = ((name, text.splitlines()[-1].split()[1]) for name, text in _texts(folder / "metrics") if text.strip())
    return TrackedRun(
        id=str(told.get("run_id") or folder.name),
        name=str(told.get("run_name") or ""),
        experiment=str(above.get("name") or ""),
        user=tags.get("mlflow.user") or str(told.get("user_id") or ""),
        status={1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}.get(told.get("status") or 0, ""),
        started_at=moment(told.get("start_time")),
        ended_at=moment(told.get("end_time")),
        params=dict(_texts(folder / "params")),
        metrics={name: float(value) for name, value in last},
        tags=tags,
    )


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """The files of a folder, those in its folders by their path."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")


def _registered(root: Path) -> Iterator[tuple[str, str, str]]:
    """The address of each registered version and alias, and the model that it stands for: its id, or its run."""
    for meta in sorted(root.glob("models/*/version-*/meta.yaml")):
        told, name = _yaml(meta), meta.parent.parent.name
        target = str(told.get("model_id") or told.get("source") or "")
        yield f"models:/{name}/{told['version']}", target.removeprefix("models:/"), str(told.get("run_id"))
        for alias in sorted((meta.parent.parent / "aliases").glob("*")):
            if alias.read_text(encoding="utf-8").strip() == str(told["version"]):
                yield f"models:/{name}@{alias.name}", target.removeprefix("models:/"), str(told.get("run_id"))


def _of_database(path: Path) -> Iterator[TrackedModel]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            yield from _of_tables(connection, path)
        except sqlite3.Error as error:
            raise DataError(f"{path} is no tracking store of MLflow: {error}") from error


def _of_tables(connection: sqlite3.Connection, path: Path) -> Iterator[TrackedModel]:
    registered = []
    has_models = bool(connection.execute("select 1 from sqlite_master where name = 'logged_models'").fetchone())
    for row in connection.execute("select * from model_versions"):
        target = str(row["source"] or "").removeprefix("models:/")
        registered.append((f"models:/{row['name']}/{row['version']}", target, str(row["run_id"])))
    versions = {(address.removeprefix("models:/")): (target, run) for address, target, run in registered}
    for row in connection.execute("select name, alias, version from registered_model_aliases"):
        if (found := versions.get(f"{row['name']}/{row['version']}")) is not None:
            registered.append((f"models:/{row['name']}@{row['alias']}", *found))
    runs = {row["run_uuid"]: row for row in connection.execute("select * from runs where lifecycle_stage = 'active'")}
    logged = connection.execute("select * from logged_models where lifecycle_stage = 'active'") if has_models else ()
    for row in logged:
        folder = _artifacts(str(row["artifact_location"]), path)
        if (folder / MLMODEL).is_file():
            run = _run_of_tables(connection, runs[row["source_run_id"]]) if row["source_run_id"] in runs else None
            addresses = _addresses(row["model_id"], run, str(row["name"]))
            yield _named(TrackedModel(folder, run, addresses), registered)
    for row in runs.values():
        folder = _artifacts(str(row["artifact_uri"] or ""), path)
        for saved in sorted(folder.glob(f"**/{MLMODEL}")) if folder.is_dir() else ():
            run, name = _run_of_tables(connection, row), saved.parent.relative_to(folder).as_posix()
            yield _named(TrackedModel(saved.parent, run, _addresses("", run, name)), registered)


def _run_of_tables(connection: sqlite3.Connection, row: Any) -> TrackedRun:
    def pairs(table: str, order: str = "key") -> dict[str, Any]:
        query = f"select key, value from {table} where run_uuid = ? order by {order}"
        return {one["key"]: one["value"] for one in connection.execute(query, (row["run_uuid"],))}

    named = "select name from experiments where experiment_id = ?"
    experiment = connection.execute(named, (row["experiment_id"],)).fetchone()
    tags = pairs("tags")
    return TrackedRun(
        id=row["run_uuid"],
        name=str(row["name"] or ""),
        experiment=experiment["name"] if experiment else "",
        user=tags.get("mlflow.user") or str(row["user_id"] or ""),
        status=str(row["status"] or "").lower(),
        started_at=moment(row["start_time"]),
        ended_at=moment(row["end_time"]),
        params=pairs("params"),
        metrics=pairs("latest_metrics"),
        tags=tags,
    )


def _artifacts(uri: str, database: Path) -> Path:
    """Where artifacts lie: as the store says, else beside the database, to which both were moved."""
    path = _path(uri)
    path = path if path.is_absolute() else database.parent / path
    if path.exists():
        return path
    ends = (Path(*path.parts[place:]) for place in range(1, len(path.parts)))
    return next((database.parent / end for end in ends if (database.parent / end).exists()), path)


def _addresses(model: str, run: TrackedRun | None, name: str) -> tuple[str, ...]:
    by_run = (f"runs:/{run.id}/{name}",) if run is not None else ()
    return (*((model,) if model else ()), *by_run)


def _named(model: TrackedModel, registered: Iterable[tuple[str, str, str]]) -> TrackedModel:
    """With the addresses of the registry before its own; those lead by the model's id, or by the run's artifact."""
    mine = []
    for address, target, run in registered:
        by_run = model.run is not None and model.run.id == run and target.endswith(f"/artifacts/{model.folder.name}")
        if target in model.addresses or by_run:
            mine.append(address)
    return replace(model, addresses=(*mine, *model.addresses))


def moment(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _yaml(path: Path) -> dict[str, Any]:
    yaml = require("yaml", extra="mlflow", purpose="a tracking store of MLflow")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
