"""The demo, step by step: from the raw tables of 2013 to predictions that are watched, on the demo's own clock."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from carrara.core.config import FILE_NAME
from carrara.core.errors import CarraraError, MissingExtra
from carrara.core.progress import Progress, Step
from carrara.demo.clients import GrpcClient, RestClient
from carrara.demo.parity import compare_with_offline
from carrara.demo.server import ServerProcess
from carrara.demo.template import MONTH, YEAR, Period, write_template
from carrara.features.model_features import features_of_model
from carrara.metadata.alerts import AlertState
from carrara.monitoring.live import MonitorReport
from carrara.pipelines.prepare import materialise_views
from carrara.pipelines.train import Trained
from carrara.training.model import Model
from carrara.workspace.workspace import Workspace

MODEL, NET = "late_arrival", "late_arrival_net"
KEYS = ("carrier", "tailnum", "origin", "dest")
_NAMESPACE = uuid.UUID("6f0f8d3c-6b07-5c7e-9d2b-2b6f5c0a2013")
_OUTCOMES_AFTER = timedelta(days=2)


@dataclass(frozen=True)
class DemoResult:
    """What the demo did; the online store is `as_of` that time; `server` runs when it was asked to keep serving."""

    workspace: Path
    as_of: str
    trained: Trained
    net: Trained | None
    report: Path
    monitored: MonitorReport
    firing: list[AlertState]
    parity: int
    server: ServerProcess | None
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The demo's last line, as JSON."""
        evaluation, live = self.trained.evaluation, self.monitored.metrics or {}
        return {
            "workspace": str(self.workspace),
            "model": str(self.trained.version),
            "roc_auc": evaluation.metrics["roc_auc"].value,
            "net_roc_auc": None if self.net is None else self.net.evaluation.metrics["roc_auc"].value,
            "baseline_roc_auc": evaluation.baseline["roc_auc"].value,
            "predictions_logged": self.monitored.predictions,
            "outcomes_joined": self.monitored.outcomes,
            "live_roc_auc": live.get("roc_auc", {}).get("value"),
            "alerts_firing": [one.rule for one in self.firing],
            "features_equal_offline": self.parity,
            "seconds": self.seconds,
        }


def run_demo(
    folder: Path, *, quick: bool, progress: Progress, net: bool = False, keep_serving: bool = False
) -> DemoResult:
    """Run the demo in `folder`, with a neural `net` beside the trees; killed at any point, it can be run again and
    finishes."""
    if net and find_spec("tensorflow") is None:
        raise MissingExtra("tensorflow", "tensorflow", "the demo's neural net")
    if not (folder / FILE_NAME).exists():
        write_template(folder, "flights", MONTH if quick else YEAR)
    with Workspace(folder) as workspace:
        period = _period(workspace)
        with progress.step("ingest") as step:
            _ingest(workspace, step)
        workspace.apply()
        trained = workspace.train(MODEL, progress=progress)
        compared = workspace.train(NET, progress=progress) if net else None
        with progress.step("report") as step:
            report = workspace.models.report(str(trained.version))
            step.said = "ROC, PR, confusion matrix, calibration, feature importance"
        with progress.step("deploy") as step:
            workspace.deploy(str(trained.version))
            step.said = f"endpoint {MODEL} serves {trained.version}"
        start = period.live_from
        with progress.step("materialise") as step:
            written = _materialise(workspace, start, rebuild=True)
            step.said = f"{written:,} entities online, as of {start:%Y-%m-%d}"
        with progress.step("serve") as step:
            server = ServerProcess(folder)
            step.said = f"gRPC on 127.0.0.1:{server.grpc_port}, REST on 127.0.0.1:{server.rest_port}"
        try:
            with progress.step("live") as step:
                step.said = _live(workspace, server, period, step)
            # Its stop writes the rest of the log; one that is kept is a new one, with the log at rest.
            server.stop()
        except BaseException:
            server.kill()
            raise
        monitored, firing, parity = _watched(folder, trained, period, progress)
    seconds = {step.name: round(step.seconds, 2) for step in progress.steps}
    kept = ServerProcess(folder, keep=True) if keep_serving else None
    return DemoResult(
        folder.resolve(),
        f"{period.live_to:%Y-%m-%dT%H:%M:%SZ}",
        trained,
        compared,
        report,
        monitored,
        firing,
        parity,
        kept,
        seconds,
    )


def _period(workspace: Workspace) -> Period:
    """The period that the workspace's model was declared for, whichever was asked for when it was made."""
    model = workspace.definitions.get("model", MODEL, Model)
    for period in (MONTH, YEAR):
        if period.test_from == getattr(model.split, "test_from", None):
            return period
    raise CarraraError(
        f"the split of '{MODEL}' in {workspace.root} is no longer the demo's",
        hint="Name another folder for the demo, or go on by hand: carrara train late_arrival.",
    )


def _ingest(workspace: Workspace, step: Step) -> None:
    ingested = workspace.datasets.ingest()
    anomalies = sum(len(one.version.anomalies) for one in ingested)
    rows = sum(one.version.rows for one in ingested)
    step.reused = all(one.reused for one in ingested)
    step.said = f"{len(ingested)} datasets, {rows:,} rows, {anomalies or 'no'} anomalies"


def _materialise(workspace: Workspace, until: datetime, *, rebuild: bool = False) -> int:
    """Only the views that the model reads."""
    definitions = workspace.definitions
    service = features_of_model(definitions, definitions.of_kind("model")[MODEL], where=MODEL)
    views = [view for view, _ in service.stored]
    done = materialise_views(workspace.stores, definitions, views, until, rebuild=rebuild)
    return sum(one.entities for one in done)


def _live(workspace: Workspace, server: ServerProcess, period: Period, step: Step) -> str:
    """Each hour: what became known by then goes online, and the hour's flights are predicted by entity keys."""
    boards = [board for start, end in period.stretches for board in _boards(workspace, start, end)]
    asked = {"gRPC": 0, "REST": 0}
    with GrpcClient(server.grpc_port) as grpc, RestClient(server.rest_port) as rest:
        for number, (hour, flights) in enumerate(boards):
            _materialise(workspace, hour)
            half = flights.height // 2
            grpc.predict(MODEL, flights.head(half))
            rest.predict(MODEL, flights.tail(flights.height - half))
            asked["gRPC"] += half
            asked["REST"] += flights.height - half
            step.advance(number + 1, len(boards))
    _materialise(workspace, period.live_to)
    return f"{len(boards)} hours, {asked['gRPC']:,} predictions over gRPC, {asked['REST']:,} over REST"


def _boards(workspace: Workspace, start: datetime, end: datetime) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """The flights of each full hour that have a plane assigned, with what a request says of them."""
    legs = workspace.datasets.read("legs").filter(pl.col("board_time").is_between(start, end, closed="left"))
    flights = legs.drop_nulls("tailnum").sort("board_time", "scheduled_departure", *KEYS).collect()
    for (hour,), rows in flights.group_by("board_time", maintain_order=True):
        named = [uuid.uuid5(_NAMESPACE, "|".join(map(str, row))) for row in rows.select("board_time", *KEYS).rows()]
        assert isinstance(hour, datetime)
        yield (
            hour,
            rows.select(
                *KEYS,
                "scheduled_departure",
                pl.col("distance").cast(pl.Float64),
                pl.col("board_time").alias("event_time"),
                pl.Series("prediction_id", [str(name) for name in named]),
            ),
        )


def _watched(
    folder: Path, trained: Trained, period: Period, progress: Progress
) -> tuple[MonitorReport, list[AlertState], int]:
    """The outcomes arrive; quality and drift by window, what fires, and online against offline features."""
    end = period.live_to + _OUTCOMES_AFTER
    with Workspace(folder, clock=lambda: end) as later:
        with progress.step("monitor") as step:
            later.monitoring.run(MODEL)
            report = later.monitoring.show(str(trained.version))
            step.said = f"{report.outcomes:,} of {report.predictions:,} predictions joined with what happened"
        with progress.step("alerts") as step:
            firing = [one for one in later.monitoring.alerts(MODEL) if one.state == "firing"]
            step.said = f"{len(firing)} fire: {', '.join(one.rule for one in firing)}" if firing else "none fires"
        with progress.step("parity") as step:
            compared = compare_with_offline(later, str(trained.version))
            step.said = f"{compared:,} predictions: online features equal offline's"
    return report, firing, compared
