"""The façade: a workspace folder, its stores opened once, and every room's verbs.

Everything that the command line does is a call here, or on what a call here returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from carrara.core.clock import Clock, now
from carrara.core.columns import utc_times
from carrara.core.config import Configuration, find_root, read_configuration
from carrara.core.definitions import Definitions, load_definitions
from carrara.core.errors import CarraraError, UnavailableError
from carrara.core.progress import Progress
from carrara.data import (
    Anomaly,
    Dataset,
    DatasetVersion,
    DuckDB,
    Files,
    Ingested,
    Sql,
    Statistics,
    dataset_version,
    ingest_dataset,
    list_datasets,
    profile,
    read_dataset,
)
from carrara.data.association import Association, associations
from carrara.data.checks import Checked, check_data, check_version, propose, read_quarantine, written_schema
from carrara.data.dataset import Mode
from carrara.data.diff import DatasetDiff, diff_versions
from carrara.data.schema_file import schema_path, schema_text, write_schema
from carrara.data.schema_inference import infer_schema
from carrara.data.sources import Frame
from carrara.data.sources.files import read_file
from carrara.data.versions import read_statistics, version_as_of
from carrara.features import (
    FeatureTable,
    FeatureValues,
    Materialised,
    Retriever,
    join_features,
    list_feature_tables,
    resolve_features,
)
from carrara.features.catalogue import CatalogueEntry, catalogue, catalogue_entry, catalogue_state, search
from carrara.features.pushes import Pushed, push
from carrara.features.streams.run import Streamed, dead_letters, run_stream
from carrara.features.suggestion import Suggestion, label_of, suggest
from carrara.features.verification import Verified, verify
from carrara.metadata.deployments import Deployment, current_aliases, current_deployments, move_alias
from carrara.metadata.lineage import Edge, downstream, upstream
from carrara.metadata.run_metrics import read_metrics
from carrara.metadata.runs import Run, get_run, list_runs
from carrara.metadata.trials import RecordedTrial, list_trials
from carrara.models.registry import ModelVersion, champion, list_models, read_record, resolve
from carrara.monitoring.live import MonitorReport, monitor
from carrara.monitoring.prediction_log import PredictionLog, read_log
from carrara.pipelines import (
    Plan,
    Trained,
    apply,
    compute_features,
    deploy,
    ingest_for,
    materialise_views,
    plan,
    train,
)
from carrara.pipelines.prepare import describe_ingest, entity_of, refresh_former_views, stored_views
from carrara.pipelines.reproduce import Reproduction, reproduce
from carrara.pipelines.reproduce import diff_versions as diff_models
from carrara.pipelines.run_log import read_log_of_run
from carrara.pipelines.scheduler import Scheduled, run_due, run_scheduler
from carrara.pipelines.status import FeatureStatus, feature_status
from carrara.pipelines.trees import Trees, largest_trees, read_trees
from carrara.serving.batch import predict_batch
from carrara.serving.entities import entity_columns
from carrara.serving.predictor import ModelPredictor, open_predictor, retriever_of
from carrara.storage import Stores, open_stores


@dataclass(frozen=True)
class Predictions:
    """Answers in the order of the entities: `rows` hold each entity with its outputs."""

    model: str
    rows: pl.DataFrame

    def _repr_html_(self) -> str:
        return f"<b>{self.model}</b>{self.rows._repr_html_()}"


class Workspace:
    """A workspace: the folder that holds `carrara.toml`, or any folder below it.

    `clock` tells the time to everything; a test or a replay may bring its own.
    """

    def __init__(self, path: str | Path = ".", *, clock: Clock = now) -> None:
        self.configuration: Configuration = read_configuration(find_root(Path(path)))
        self.clock = clock
        self._predictors: dict[str, ModelPredictor] = {}
        self._retrievers: dict[tuple[str, ...], Retriever] = {}
        self._catalogue: tuple[tuple[int, int], list[CatalogueEntry]] | None = None

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def _repr_html_(self) -> str:
        return f"<b>{self.configuration.name}</b> at {self.root}{self.models.table()._repr_html_()}"

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> Path:
        return self.configuration.root

    @cached_property
    def stores(self) -> Stores:
        """The stores that `carrara.toml` names, opened at first use."""
        return open_stores(self.configuration, self.clock)

    @cached_property
    def definitions(self) -> Definitions:
        """What the definition files declare, loaded at first use."""
        return load_definitions(self.configuration.definition_files)

    @property
    def datasets(self) -> Datasets:
        return Datasets(self)

    @property
    def features(self) -> Features:
        return Features(self)

    @property
    def models(self) -> Models:
        return Models(self)

    def plan(self) -> Plan:
        """What `apply` would change; raises for definitions that do not fit together."""
        return plan(self.stores, self.definitions, require=self.configuration.features.require)

    def apply(self, planned: Plan | None = None) -> Plan:
        """Make the definitions the applied ones, all or nothing, and return what was changed."""
        planned = planned or self.plan()
        apply(self.stores, planned)
        return planned

    def train(
        self,
        model: str,
        *,
        trials: int = 0,
        jobs: int = 1,
        start: str | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Trained:
        """Train, evaluate, judge and register a model; steps that nothing has changed for are reused.

        With `trials` its hyper-parameters are tuned first, `jobs` trials at a time; trials of before count. `start`
        is the address of a version whose learned parameters training begins with (a warm start). `workers` processes
        share the fit, where the trainer can.
        """
        told = progress or Progress()
        return train(self.stores, self.definitions, model, told, trials=trials, jobs=jobs, start=start, workers=workers)

    def run_due(self) -> list[Scheduled]:
        """Do what schedules say is due now, and no other scheduler does."""
        return run_due(self.stores, self.definitions)

    def run_scheduler(self, told: threading.Event, said: Callable[[Scheduled], None]) -> None:
        """Do what is due at the moments of the schedules, until `told`; changed definitions are taken up."""
        files = self.configuration.definition_files
        run_scheduler(self.stores, lambda: load_definitions(files), told, said)

    def deploy(self, address: str, to: str | None = None) -> Deployment:
        """Make an endpoint (by default the model's name) serve a version."""
        return deploy(self.stores, address, to)

    def deployments(self) -> list[Deployment]:
        """What every endpoint serves now."""
        return current_deployments(self.stores.metadata)

    def predict(self, address: str, entities: Sequence[Mapping[str, Any]], *, log: bool = False) -> Predictions:
        """Predict in this process, by entity keys and request fields, one mapping per row.

        Features are read from the online store at each row's `event_time` (by default now). `address` without
        a version means the champion, or the newest version where there is none. Raises RequestError for a row
        that lacks an entity key.
        """
        predictor = self._predictor(address)
        columns = entity_columns(predictor, entities)
        prediction = predictor.predict(columns)
        if log:
            writer = PredictionLog(self.stores, flush_seconds=0.0)
            writer.append(prediction.record)
            writer.close()
        rows = pl.DataFrame([dict(entity) for entity in entities])
        outputs = {name: pl.Series(values) for name, values in prediction.outputs.items()}
        return Predictions(f"{predictor.model}@{predictor.version}", rows.with_columns(**outputs))

    def predict_batch(self, address: str, source: Path, target: Path) -> int:
        """Predict every row of a CSV or Parquet file into another, and return how many; see `serving.batch`."""
        return predict_batch(self.stores, self._version(address), source, target)

    def monitor(self, address: str, *, window: timedelta = timedelta(days=7)) -> MonitorReport:
        """Live quality against the evaluation's, and drift, by window, as of the clock."""
        return monitor(self.stores, self._version(address), window=window)

    def predictions(self, model: str) -> pl.DataFrame:
        """The prediction log of a model."""
        return read_log(self.stores, model)

    def lineage(self, address: str) -> dict[str, list[Edge]]:
        """What an address such as `model:late_arrival@1` was made from, and what was made of it."""
        metadata = self.stores.metadata
        return {"upstream": upstream(metadata, address), "downstream": downstream(metadata, address)}

    def run(self, run_id: str) -> Run:
        """A run by its id, or by the first letters of it."""
        return get_run(self.stores.metadata, run_id)

    def run_metrics(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """What a run measures while it runs, by name: (round, value)."""
        return read_metrics(self.stores.metadata, self.run(run_id).id)

    def run_log(self, run_id: str) -> str:
        """What a training said so far, and how it failed."""
        return read_log_of_run(self.stores, self.run(run_id).id)

    def stop(self, run_id: str) -> Run:
        """Ask a run of this machine to stop. Raises UnavailableError where it is over, or on another machine."""
        found = self.run(run_id)
        if found.state != "running" or found.process is None:
            raise UnavailableError(f"run {found.id} is not running: it is {found.state}")
        if not found.process.is_here:
            raise UnavailableError(f"run {found.id} is on {found.process.host}", hint="Stop it there.")
        found.process.stop()
        return found

    def resume(self, run_id: str, *, progress: Progress | None = None) -> Trained:
        """Go on with a training: what it had done is not done again."""
        found = self.run(run_id)
        if found.kind != "train":
            raise UnavailableError(
                f"run {found.id} is of the kind '{found.kind}', and trainings are gone on with",
                hint="Run its command again: what was complete is not done again.",
            )
        if found.state == "running":
            raise UnavailableError(f"run {found.id} is running", hint=f"carrara run stop {found.id}")
        asked = {
            name: found.parameters[name] for name in ("trials", "jobs", "start", "workers") if name in found.parameters
        }
        return self.train(found.name, **asked, progress=progress)

    def runs(self, kind: str | None = None) -> list[Run]:
        """The newest runs first."""
        return list_runs(self.stores.metadata, kind)

    def close(self) -> None:
        for predictor in self._predictors.values():
            predictor.close()
        self._predictors.clear()
        self._retrievers.clear()
        if "stores" in self.__dict__:
            self.stores.close()
            del self.__dict__["stores"]

    def _predictor(self, address: str) -> ModelPredictor:
        version = self._version(address)
        if str(version) not in self._predictors:
            self._predictors[str(version)] = open_predictor(self.stores, version)
        return self._predictors[str(version)]

    def _version(self, address: str) -> ModelVersion:
        live = champion(self.stores, address) if "@" not in address and ":" not in address else None
        return live or resolve(self.stores, address)


@dataclass(frozen=True)
class Datasets:
    """The datasets of a workspace."""

    workspace: Workspace

    def ingest(self, *names: str, accept_schema: bool = False, progress: Progress | None = None) -> list[Ingested]:
        """Bring datasets (by default all) up to date; `accept_schema` takes what is there as the new schema."""
        stores, definitions = self.workspace.stores, self.workspace.definitions
        wanted = names or tuple(definitions.of_kind("dataset"))
        return ingest_for(stores, definitions, wanted, accept_schema=accept_schema, progress=progress)

    def ingest_from(
        self,
        name: str,
        source: Any,
        *,
        mode: Mode = "replace",
        key: Sequence[str] = (),
        accept_schema: bool = False,
        progress: Progress | None = None,
        **declared: Any,
    ) -> Ingested:
        """Ingest a file (by its address), a `Sql` or `DuckDB` query, or a dataframe into a dataset that no
        definition names; `declared` are the other arguments of `Dataset`."""
        dataset = Dataset(name, _as_source(source), mode=mode, key=tuple(key), **declared)
        with (progress or Progress()).step(name) as step:
            found = ingest_dataset(self.workspace.stores, dataset, accept_schema=accept_schema, step=step)
            describe_ingest(step, found)
        return found

    def versions(self, name: str | None = None) -> list[DatasetVersion]:
        """Every version of every dataset, or of one, oldest first."""
        if name is not None:
            dataset_version(self.workspace.stores, name)
        return [v for v in list_datasets(self.workspace.stores) if name in (None, v.name)]

    def get(self, name: str, version: int | None = None, *, as_of: datetime | None = None) -> DatasetVersion:
        """A version, the newest, or the one that was the newest at a time."""
        if as_of is not None:
            return version_as_of(self.workspace.stores, name, as_of)
        return dataset_version(self.workspace.stores, name, version)

    def read(self, name: str, version: int | None = None, *, as_of: datetime | None = None) -> pl.LazyFrame:
        """The rows of a version, of the newest, or of the one that was the newest at a time."""
        return read_dataset(self.workspace.stores, name, self.get(name, version, as_of=as_of).version)

    def statistics(
        self, name: str, version: int | None = None, *, slices: Sequence[str] = (), weight: str | None = None
    ) -> Statistics:
        """The statistics of a version as stored; by slices or weights, made by one more pass over its rows."""
        if slices or weight:
            return profile(self.read(name, version), slices=slices, weight=weight)
        return read_statistics(self.workspace.stores, self.get(name, version))

    def association(self, name: str, label: str, version: int | None = None) -> list[Association]:
        """How much each column tells of a label: correlation and mutual information, the most first."""
        return associations(self.read(name, version), self.statistics(name, version), label)

    def schema(self, name: str) -> str:
        """The schema's TOML: of the file `schemas/NAME.toml`, or of the newest version."""
        return written_schema(self.workspace.stores, name)

    def infer_schema(self, name: str, *, force: bool = False) -> Path:
        """Write `schemas/NAME.toml` from the newest version's statistics; one that is there stays, unless forced."""
        stores, found = self.workspace.stores, self.get(name)
        path = schema_path(stores.root, name)
        if path.is_file() and not force:
            raise CarraraError(
                f"{path} is there already",
                hint=f"See what it lacks with carrara dataset schema diff {name}, or write over it with --force.",
            )
        key = tuple(found.schema.get("key", ()))
        return write_schema(stores.root, name, schema_text(infer_schema(self.statistics(name), name, key)))

    def propose_schema(self, name: str, *, data: Any = None) -> tuple[str, str]:
        """The schema's TOML that would accept the newest version, or `data`, and its diff from today's."""
        return propose(self.workspace.stores, name, self.check(name, data=data))

    def update_schema(self, name: str, *, data: Any = None) -> tuple[Path, str]:
        """Write what `propose_schema` proposes, and return the schema's file with the diff."""
        text, changes = self.propose_schema(name, data=data)
        return write_schema(self.workspace.root, name, text), changes

    def check(
        self,
        name: str,
        version: int | None = None,
        *,
        data: Any = None,
        training: int | None = None,
        environment: str = "",
    ) -> Checked:
        """Hold a version, or `data` (a file's address or a dataframe), against the schema of a dataset."""
        stores = self.workspace.stores
        if data is None:
            return check_version(stores, name, version, training=training, environment=environment)
        return check_data(stores, name, data, self._declared(name), training=training, environment=environment)

    def validate(
        self,
        name: str,
        version: int | None = None,
        *,
        data: Any = None,
        training: int | None = None,
        environment: str = "",
    ) -> list[Anomaly]:
        """The anomalies of a version, or of `data`, against the schema of a dataset, worst first."""
        return self.check(name, version, data=data, training=training, environment=environment).anomalies

    def _declared(self, name: str) -> Dataset | None:
        """What the definitions say of a dataset, where there are any: `ingest_from` needs none."""
        if not all(path.is_file() for path in self.workspace.configuration.definition_files):
            return None
        found = self.workspace.definitions.of_kind("dataset").get(name)
        return found if isinstance(found, Dataset) else None

    def quarantine(self, name: str) -> pl.DataFrame:
        """The rows that were set aside at ingest, with the reasons."""
        return read_quarantine(self.workspace.stores, name)

    def diff(
        self, name: str, before: int | None = None, after: int | None = None, *, key: Sequence[str] = ()
    ) -> DatasetDiff:
        """What changed between two versions (by default the newest and the one before), also row by row by `key`."""
        return diff_versions(self.workspace.stores, name, before, after, tuple(key))

    def report(
        self, name: str, version: int | None = None, *, against: int | None = None, path: Path | None = None
    ) -> Path:
        """Write a version, or two side by side, as one self-contained HTML page and return its path."""
        from carrara.data.report import write_report

        return write_report(self.workspace.stores, name, version, against, path)


def _as_polars(rows: Any) -> pl.DataFrame:
    frame: pl.DataFrame = rows if isinstance(rows, pl.DataFrame) else nw.from_native(rows, eager_only=True).to_polars()
    return frame


def _as_source(source: Any) -> Any:
    if isinstance(source, str | Sql | DuckDB | Files):
        return source
    return str(source) if isinstance(source, Path) else Frame(source)


@dataclass(frozen=True)
class Features:
    """The feature views of a workspace."""

    workspace: Workspace

    def all(self) -> list[CatalogueEntry]:
        """Every declared feature, with what is known of it."""
        workspace, state = self.workspace, catalogue_state(self.workspace.stores)
        if workspace._catalogue is None or workspace._catalogue[0] != state:
            workspace._catalogue = state, catalogue(workspace.stores, workspace.definitions)
        return workspace._catalogue[1]

    def show(self, feature: str) -> CatalogueEntry:
        """One feature of the catalogue, by `view:feature`."""
        return catalogue_entry(self.workspace.stores, self.workspace.definitions, feature)

    def search(self, text: str = "", *, tag: str | None = None, **facets: str | bool | None) -> list[CatalogueEntry]:
        """The features that hold every word of `text`, the best first; facets are `entity`, `owner`, `pii`, …"""
        return search(self.all(), text, tag=tag, **facets)

    def suggest(self, label: str, *, time: str | None = None, most: int = 20) -> list[Suggestion]:
        """Which features tell of a label (`DATASET:COLUMN`), in the order in which to add them.

        `time` is the column that says when each row is predicted; a model that has this label knows it.
        """
        stores, definitions = self.workspace.stores, self.workspace.definitions
        dataset, column = label_of(label)
        models = definitions.of_kind("model").values()
        known = [m.label.time for m in models if (m.label.dataset, m.label.column) == (dataset, column)]
        if time is None and not known:
            raise CarraraError(f"no model says when '{label}' is predicted", hint="Name the column: --time COLUMN.")
        return suggest(stores, definitions, dataset, column, time or known[0], most=most)

    def tables(self) -> list[FeatureTable]:
        """Every computed feature table, oldest first."""
        return list_feature_tables(self.workspace.stores)

    def compute(self, *names: str) -> list[FeatureTable]:
        """Compute views (by default all) over the newest versions of their datasets, ingested first."""
        stores, definitions = self.workspace.stores, self.workspace.definitions
        views = stored_views(definitions, names)
        ingest_for(stores, definitions, [view.source for view in views])
        return compute_features(stores, definitions, views)

    def materialise(self, *names: str, until: datetime | None = None, rebuild: bool = False) -> list[Materialised]:
        """Bring the online rows of views (by default all) up to `until` (by default the clock's time).

        Where a deployed model was trained with a former definition of a view, that is brought up to date as well.
        """
        stores, definitions, until = self.workspace.stores, self.workspace.definitions, until or self.workspace.clock()
        views = stored_views(definitions, names)
        done = materialise_views(stores, definitions, views, until, rebuild=rebuild)
        return [*done, *refresh_former_views(stores, views, until)]

    def status(self, *names: str) -> list[FeatureStatus]:
        """How fresh views (by default all) are, and what their schedules did and will do."""
        definitions = self.workspace.definitions
        return feature_status(self.workspace.stores, definitions, stored_views(definitions, names))

    def verify(self, *names: str) -> list[Verified]:
        """Whether what is online of views (by default all) is what their tables, pushes and times say."""
        stores, definitions = self.workspace.stores, self.workspace.definitions
        return [verify(stores, view, entity_of(definitions, view)) for view in stored_views(definitions, names)]

    def join(self, what: str | Sequence[str], labels: Any, *, time: str) -> pl.DataFrame:
        """Labels with the features of a service, or of references, as they were known at each row's `time`.

        `labels` are a dataframe, the address of a file, or the name of a dataset. Raises DataError for views that were
        not computed as they are defined.
        """
        stores, definitions = self.workspace.stores, self.workspace.definitions
        resolved = resolve_features(definitions, (what,) if isinstance(what, str) else tuple(what), where="the join")
        if isinstance(labels, str) and labels in definitions.of_kind("dataset"):
            rows = read_dataset(stores, labels).collect()
        else:
            rows = read_file(str(labels), stores.root) if isinstance(labels, str | Path) else _as_polars(labels)
        if time in rows.columns and rows[time].dtype == pl.String:
            rows = rows.with_columns(utc_times(rows[time], "the labels"))
        return rows.hstack(join_features(stores, resolved, rows, time, where="the labels"))

    def push(self, view: str, rows: Any) -> Pushed:
        """Write rows of a view, known from now on, offline and online at once: a dataframe, or mappings."""
        stores, definitions = self.workspace.stores, self.workspace.definitions
        (found,) = stored_views(definitions, (view,))
        return push(stores, found, entity_of(definitions, found), rows)

    def stream(
        self, view: str, told: threading.Event, said: Callable[[Streamed], None], *, until_empty: bool = False
    ) -> None:
        """Read a view's stream into it, offline and online, until `told`, or to its present end."""
        stores, definitions = self.workspace.stores, self.workspace.definitions
        (found,) = stored_views(definitions, (view,))
        run_stream(stores, found, entity_of(definitions, found), told, said, until_empty=until_empty)

    def dead_letters(self, view: str) -> pl.DataFrame:
        """The messages of a view's stream that are no rows of it, with the reasons."""
        (found,) = stored_views(self.workspace.definitions, (view,))
        return dead_letters(self.workspace.stores, found)

    def get(self, what: str | Sequence[str], entities: Any) -> FeatureValues:
        """The features of a feature service, of a model version, or of a list of references, from the online store.

        `entities` are a dataframe, a mapping of columns, or a list of mappings: keys, request fields, and optionally
        an `event_time` each.
        """
        workspace = self.workspace
        return self._retriever(what).ask(entities, workspace.clock())

    def _retriever(self, what: str | Sequence[str]) -> Retriever:
        stores, definitions = self.workspace.stores, self.workspace.definitions
        if isinstance(what, str) and what not in definitions.of_kind("feature service"):
            return self.workspace._predictor(what).retriever
        references = (what,) if isinstance(what, str) else tuple(what)
        if references not in self.workspace._retrievers:
            resolved = resolve_features(definitions, references, where="ws.features.get")
            self.workspace._retrievers[references] = Retriever(resolved, stores.online)
        return self.workspace._retrievers[references]


@dataclass(frozen=True)
class Models:
    """The model versions of a workspace."""

    workspace: Workspace

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """Every version of every model, or of one, oldest first."""
        if model is not None:
            resolve(self.workspace.stores, model)
        return list_models(self.workspace.stores, model)

    def reproduce(self, address: str) -> Reproduction:
        """Build a version again by its record, and compare digests; nothing is registered."""
        return reproduce(self.workspace.stores, self.get(address))

    def diff(self, one: str, other: str) -> list[tuple[str, Any, Any]]:
        """What differs between two versions in configuration, data, code, environment and metrics, field by field."""
        return diff_models(self.workspace.stores, self.get(one), self.get(other))

    def trees(self, address: str, *, node: str | None = None, seen: bool = True) -> Trees:
        """The trees of a version of XGBoost or LightGBM, with its training rows at their nodes; of a partitioned model
        those of a `node`."""
        return read_trees(self.workspace.stores, self.get(address), node=node, seen=seen)

    def trials(self, model: str) -> list[RecordedTrial]:
        """Every trial of a model's hyper-parameters, in the order in which they ended."""
        return list_trials(self.workspace.stores.metadata, model=model)

    def table(self) -> pl.DataFrame:
        """The versions with their metrics, one a row."""
        return pl.DataFrame([{"model": str(v), "gates_passed": v.gates_passed, **v.metrics} for v in self.versions()])

    def get(self, address: str) -> ModelVersion:
        """The version that an address stands for: NAME, NAME@3, NAME@ALIAS."""
        return resolve(self.workspace.stores, address)

    def record(self, address: str) -> dict[str, Any]:
        """The whole model record."""
        return read_record(self.workspace.stores, self.get(address))

    def report(self, address: str, path: Path | None = None) -> Path:
        """Write the record as one self-contained HTML page, by default into `reports/`, and return its path."""
        from carrara.models.report import render_report

        version = self.get(address)
        target = path or self.workspace.root / "reports" / f"{version.model}-{version.version}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        trees = largest_trees(self.workspace.stores, version)
        target.write_text(render_report(self.record(address), trees), encoding="utf-8")
        return target

    def features_absent_online(self, address: str) -> list[str]:
        """The feature views that the version reads and that were never materialised as it reads them."""
        return retriever_of(self.workspace.stores, self.get(address)).absent()

    def aliases(self, model: str) -> dict[str, int]:
        return current_aliases(self.workspace.stores.metadata, model)

    def move_alias(self, address: str, alias: str) -> None:
        """Point an alias of the model at this version; the history of where it pointed is kept."""
        version = self.get(address)
        move_alias(self.workspace.stores.metadata, version.model, alias, version.version)
