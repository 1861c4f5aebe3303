"""The façade: a workspace folder, its stores opened once, and every room's verbs.

Everything that the command line does is a call here, or on what a call here returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.core.clock import Clock, duration, now
from carrara.core.config import Configuration, find_root, read_configuration
from carrara.core.definitions import Definitions, load_definitions
from carrara.core.errors import CarraraError, UnavailableError
from carrara.core.html import html_table
from carrara.core.names import check_name
from carrara.core.progress import Progress
from carrara.metadata.audit import record
from carrara.metadata.deployments import Deployment, current_deployments
from carrara.metadata.lineage import Edge, downstream, made_by, upstream
from carrara.metadata.run_metrics import RunMetrics, read_metrics
from carrara.metadata.runs import Run, get_run, list_runs, steps_of
from carrara.storage.stores import Stores, open_stores

if TYPE_CHECKING:
    import polars as pl

    from carrara.data.ingest import Ingested
    from carrara.features.catalogue import CatalogueEntry
    from carrara.features.retrieval import Retriever
    from carrara.models.registry import ModelVersion
    from carrara.monitoring.live import MonitorReport
    from carrara.pipelines.backtest import Backtest
    from carrara.pipelines.garbage import Garbage
    from carrara.pipelines.plan import Plan
    from carrara.pipelines.schedule_health import ScheduleHealth
    from carrara.pipelines.scheduler import Scheduled
    from carrara.pipelines.trace import Trace
    from carrara.pipelines.train import Trained
    from carrara.serving.predictor import ModelPredictor
    from carrara.workspace.access import Access
    from carrara.workspace.datasets import Datasets
    from carrara.workspace.endpoints import Endpoints
    from carrara.workspace.features import Features
    from carrara.workspace.models import Models
    from carrara.workspace.monitoring import Monitoring


_MOST_SHOWN = 50


@dataclass(frozen=True)
class Predictions:
    """Answers in the order of the entities: `rows` hold each entity with its outputs."""

    model: str
    rows: pl.DataFrame

    def _repr_html_(self) -> str:
        shown = self.rows.head(_MOST_SHOWN)
        return html_table(self.model, shown.columns, shown.rows(), lead=f"{self.rows.height:,} answers")


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
        models = self.models.table().tail(_MOST_SHOWN)
        return html_table(self.configuration.name, models.columns, models.rows(), lead=str(self.root))

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

    def stores_for_serving(self) -> Stores:
        """The stores; where something was served before, also while the metadata store is away."""

        from carrara.serving.deployed import open_for_serving

        if "stores" not in self.__dict__:
            self.__dict__["stores"] = open_for_serving(self.configuration, self.clock)
        return self.stores

    @cached_property
    def definitions(self) -> Definitions:
        """What the definition files declare, loaded at first use."""
        return load_definitions(self.configuration.definition_files)

    def forget_definitions(self) -> None:
        """Read the definition files anew at the next use: for a process that outlives an edit."""
        self.__dict__.pop("definitions", None)
        self._catalogue = None
        self._retrievers.clear()

    @property
    def datasets(self) -> Datasets:
        from carrara.workspace.datasets import Datasets

        return Datasets(self)

    @property
    def features(self) -> Features:
        from carrara.workspace.features import Features

        return Features(self)

    @property
    def endpoints(self) -> Endpoints:
        from carrara.workspace.endpoints import Endpoints

        return Endpoints(self)

    @property
    def models(self) -> Models:
        from carrara.workspace.models import Models

        return Models(self)

    @property
    def access(self) -> Access:
        from carrara.workspace.access import Access

        return Access(self)

    @property
    def monitoring(self) -> Monitoring:
        from carrara.workspace.monitoring import Monitoring

        return Monitoring(self)

    def plan(self) -> Plan:
        """What `apply` would change; raises for definitions that do not fit together."""

        from carrara.pipelines.plan import plan

        return plan(self.stores, self.definitions, require=self.configuration.features.require)

    def apply(self, planned: Plan | None = None) -> Plan:
        """Make the definitions the applied ones, all or nothing, and return what was changed."""

        from carrara.pipelines.plan import apply

        planned = planned or self.plan()
        apply(self.stores, planned)
        return planned

    def train(
        self,
        model: str,
        *,
        trials: int = 0,
        jobs: int = 1,
        sampler: str = "tpe",
        start: str | None = None,
        new_rows: bool = False,
        nodes: Sequence[str] = (),
        workers: int | None = None,
        servers: int | None = None,
        cluster: str | Path | None = None,
        evaluator: bool = False,
        min_workers: int = 0,
        progress: Progress | None = None,
    ) -> Trained:
        """Train, evaluate, judge and register a model; steps that nothing has changed for are reused.

        With `trials` its hyper-parameters are tuned first, `jobs` trials at a time; trials of before count, and the
        `sampler` is "tpe", "random" or "grid". `start` is the address of a version whose learned parameters training
        begins with (a warm start); with `new_rows` it goes on from that, or the champion, or the newest version, on the
        rows alone that it has not seen; with `nodes` these alone of a partitioned model are trained, and the others are
        those of that version. `workers` processes share the fit, where the trainer can, with so many parameter
        `servers`; `cluster` is a cluster.toml whose servers run; an `evaluator` beside them measures each epoch while
        the next one is trained; `min_workers` are enough where others are lost for good. Where none of these is given,
        the model's `compute` says it.
        """

        from carrara.pipelines.train import train
        from carrara.training.cluster.team import Team
        from carrara.training.model import Model

        if min_workers and workers is None and (own := self.definitions.get("model", model, Model).compute) is not None:
            workers, servers = own.workers, own.servers if servers is None else servers
        team = None
        if evaluator or min_workers or any(one is not None for one in (workers, servers, cluster)):
            engine = self.stores.engines.training
            team = Team.of(workers or 1, servers or 0, cluster, engine, evaluator, min_workers=min_workers)
        return train(
            self.stores,
            self.definitions,
            model,
            progress or Progress(),
            trials=trials,
            jobs=jobs,
            sampler=sampler,
            start=start,
            new_rows=new_rows,
            nodes=nodes,
            team=team,
        )

    def backtest(
        self,
        model: str,
        *,
        origins: int = 5,
        every: str = "7d",
        against: str | None = None,
        progress: Progress | None = None,
    ) -> Backtest:
        """Train a model at several past moments, and judge it by what came next; see `pipelines.backtest`."""

        from carrara.pipelines.backtest import backtest

        told = progress or Progress()
        return backtest(self.stores, self.definitions, model, told, origins=origins, every=every, against=against)

    def run_due(self) -> list[Scheduled]:
        """Do what schedules say is due now, and no other scheduler does."""

        from carrara.pipelines.scheduler import run_due

        return run_due(self.stores, self.definitions)

    def run_scheduler(self, told: threading.Event, said: Callable[[Scheduled], None]) -> None:
        """Do what is due at the moments of the schedules, until `told`; changed definitions are taken up."""

        from carrara.pipelines.schedule_health import measure_schedules
        from carrara.pipelines.scheduler import run_scheduler

        files = self.configuration.definition_files
        run_scheduler(self.stores, lambda: load_definitions(files), told, said, measure=measure_schedules)

    def schedule_health(self) -> list[ScheduleHealth]:
        """How every schedule stands, the red ones first: what is due and nobody does, what fails, what never ran."""

        from carrara.pipelines.schedule_health import schedule_health

        return schedule_health(self.stores, self.definitions)

    def deploy(self, address: str, to: str | None = None, *, force: bool = False, watch: bool = True) -> Deployment:
        """Make an endpoint (by default the model's name) serve a version; `ws.endpoints` tries one beside another.

        With `force` also one with another signature. It is watched for an hour, unless `watch` is false: where it does
        worse than the version before for certain, that one comes back.
        """

        from carrara.pipelines.deploy import deploy

        return deploy(self.stores, address, to, force=force, watch=watch)

    def deployments(self) -> list[Deployment]:
        """What every endpoint serves now."""
        return current_deployments(self.stores.metadata)

    def predict(self, address: str, entities: Sequence[Mapping[str, Any]], *, log: bool = False) -> Predictions:
        """Predict in this process, by entity keys and request fields, one mapping per row.

        Features are read from the online store at each row's `event_time` (by default now). `address` without
        a version means the champion, or the newest version where there is none. Raises RequestError for a row
        that lacks an entity key.
        """

        import polars as pl

        from carrara.monitoring.prediction_log import PredictionLog
        from carrara.serving.entities import entity_columns

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

    def forecast(
        self, address: str, entities: Sequence[Mapping[str, Any]], *, steps: int, log: bool = False
    ) -> Predictions:
        """The next `steps` values of series by their keys: a row for each entity and `step`, as of its `event_time`."""

        from carrara.data.ahead import STEP

        asked = [{**entity, STEP: step} for entity in entities for step in range(1, steps + 1)]
        return self.predict(address, asked, log=log)

    def predict_batch(self, address: str, source: Path, target: Path) -> int:
        """Predict every row of a CSV or Parquet file into another, and return how many; see `serving.batch`."""

        from carrara.serving.batch import predict_batch

        return predict_batch(self.stores, self.version(address), source, target)

    def predict_dataset(self, address: str, dataset: str, into: str, *, time: str | None = None) -> Ingested:
        """Predict every row of a dataset into the next version of another, whose lineage says from what it was made.

        `time` names the column of the rows' times. CarraraError where a definition says what `into` is.
        """

        from carrara.serving.batch import predict_dataset

        if into in self.definitions.of_kind("dataset"):
            raise CarraraError(f"dataset '{into}' is declared, and holds no predictions", hint="Choose another name.")
        return predict_dataset(self.stores, self.version(address), dataset, check_name("dataset", into), time=time)

    def monitor(self, address: str, *, window: timedelta | str = "7d") -> MonitorReport:
        """Compute live quality against the evaluation's, and drift, by window, as of the clock."""
        return self.monitoring.measure(address, window=window)

    def predictions(self, model: str) -> pl.DataFrame:
        """The prediction log of a model."""

        from carrara.monitoring.prediction_log import read_log

        return read_log(self.stores, model)

    def lineage(self, address: str) -> dict[str, list[Edge]]:
        """What an address such as `model:late_arrival@1` was made from, and what was made of it."""
        metadata = self.stores.metadata
        return {"upstream": upstream(metadata, address), "downstream": downstream(metadata, address)}

    def trace(self, what: str, *, hops: int | None = None) -> Trace:
        """The lineage of `late@1`, `dataset:trips@2`, `trips`, `view:feature` or a prediction's id, within `hops`."""

        from carrara.pipelines.trace import trace

        return trace(self.stores, what, hops)

    def run(self, run_id: str) -> Run:
        """A run by its id, or by the first letters of it."""
        return get_run(self.stores.metadata, run_id)

    def run_metrics(self, run_id: str) -> RunMetrics:
        """What a run measures while it runs, by name: (round, value)."""
        return read_metrics(self.stores.metadata, self.run(run_id).id)

    def made_by(self, run_id: str) -> list[str]:
        """The versions that a run made, as addresses such as `training_set:late@3`, in their order."""
        return made_by(self.stores.metadata, self.run(run_id).id)

    def run_steps(self, run_id: str) -> list[dict[str, Any]]:
        """The steps that a run did itself, with how long each took, and of how many days the transforms had to be
        read; those that were remembered are of other runs."""
        return [
            {
                "name": step.name,
                "key": step.key,
                "seconds": (step.ended_at - step.started_at).total_seconds(),
                **({"analyses": step.outputs["analyses"]} if step.outputs.get("analyses") else {}),
            }
            for step in steps_of(self.stores.metadata, self.run(run_id).id)
        ]

    def run_log(self, run_id: str) -> str:
        """What a training said so far, and how it failed."""

        from carrara.pipelines.run_log import read_log_of_run

        return read_log_of_run(self.stores, self.run(run_id).id)

    def stop(self, run_id: str) -> Run:
        """Ask a run of this machine to stop. Raises UnavailableError where it is over, or on another machine."""
        found = self.run(run_id)
        if found.state != "running" or found.process is None:
            raise UnavailableError(f"run {found.id} is not running: it is {found.state}")
        if not found.process.is_here:
            raise UnavailableError(f"run {found.id} is on {found.process.host}", hint="Stop it there.")
        with self.stores.metadata.begin() as connection:
            record(connection, "stop", f"run:{found.id}", kind=found.kind, name=found.name)
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
        tuning, rows = ("trials", "jobs", "sampler"), ("start", "new_rows", "nodes")
        names = (*tuning, *rows, "workers", "servers", "cluster", "evaluator", "min_workers")
        asked = {name: found.parameters[name] for name in names if name in found.parameters}
        return self.train(found.name, **asked, progress=progress)

    def collect_garbage(self, *, older_than: str = "1d", dry_run: bool = False) -> Garbage:
        """Delete what is older than `[retention]` says, and files that nothing names and nobody has touched for a
        while; each comes with why it is not needed."""

        from carrara.pipelines.garbage import collect
        from carrara.pipelines.retention import expire

        grace, retention = duration(older_than).total_seconds(), self.configuration.retention
        expired = expire(self.stores, self.definitions, retention, dry_run=dry_run) if retention.is_set else []
        return replace(collect(self.stores, grace_seconds=grace, dry_run=dry_run), expired=tuple(expired))

    def runs(
        self,
        kind: str | None = None,
        *,
        name: str | None = None,
        state: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Run]:
        """The newest runs first; of one kind, name or state."""
        return list_runs(self.stores.metadata, kind, limit, name=name, state=state, offset=offset)

    def close(self) -> None:
        for predictor in self._predictors.values():
            predictor.close()
        self._predictors.clear()
        self._retrievers.clear()
        if "stores" in self.__dict__:
            self.stores.close()
            del self.__dict__["stores"]

    def _predictor(self, address: str) -> ModelPredictor:
        from carrara.serving.predictor import open_predictor

        version = self.version(address)
        if str(version) not in self._predictors:
            self._predictors[str(version)] = open_predictor(self.stores, version)
        return self._predictors[str(version)]

    def version(self, address: str) -> ModelVersion:
        """The version that an address stands for; a name alone is its champion, or the newest where there is none."""

        from carrara.models.registry import champion, resolve

        live = champion(self.stores, address) if "@" not in address and ":" not in address else None
        return live or resolve(self.stores, address)
