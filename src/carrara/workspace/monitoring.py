"""`ws.monitoring`: windows, outcomes, alerts, and one prediction explained."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.metadata.alerts import AlertState, Silence, add_silence, list_alerts
from carrara.metadata.prediction_losses import PredictionLoss, list_losses

if TYPE_CHECKING:
    import polars as pl

    from carrara.features.streams.kafka import Kafka
    from carrara.monitoring.alerting import Standing
    from carrara.monitoring.live import MonitorReport
    from carrara.monitoring.monitor import Monitor
    from carrara.monitoring.outcomes import Outcomes
    from carrara.pipelines.explain_prediction import ExplainedPrediction
    from carrara.pipelines.monitor import Monitored
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class Monitoring:
    """What was predicted, what then happened, and what has moved."""

    workspace: Workspace

    def run(self, model: str | None = None) -> list[Monitored]:
        """Compute the windows that have changed, of every model that serves or of one; tell and do what alerts say."""

        from carrara.pipelines.monitor import monitors, run_monitoring

        ws = self.workspace
        wanted = monitors(ws.stores, ws.definitions) if model is None else [self.monitor(ws.version(model).model)]
        return [run_monitoring(ws.stores, ws.definitions, one) for one in wanted]

    def would_fire(self, address: str) -> list[Standing]:
        """How every rule stands after the windows that are computed; nothing is told, done or written down."""

        from carrara.pipelines.monitor import would_fire

        version = self.workspace.version(address)
        return would_fire(self.workspace.stores, self.monitor(version.model), version)

    def show(self, address: str, *, window: str | None = None) -> MonitorReport:
        """What is recorded of a version's windows; one that nobody has computed says so."""

        from carrara.monitoring.live import read_monitor

        version = self.workspace.version(address)
        return read_monitor(self.workspace.stores, self.monitor(version.model, window), version)

    def recorded(self, address: str) -> MonitorReport:
        """The same without a look at the log, however long it is: what came since the monitor ran is not seen."""

        from carrara.monitoring.live import recorded_monitor

        version = self.workspace.version(address)
        return recorded_monitor(self.workspace.stores, self.monitor(version.model), version)

    def measure(self, address: str, *, window: timedelta | str | None = None) -> MonitorReport:
        """Compute a version's windows, of whatever length, and show them; alerts are not looked at."""

        from carrara.monitoring.live import read_monitor
        from carrara.monitoring.run import run_monitor

        version = self.workspace.version(address)
        text = f"{int(window.total_seconds())}s" if isinstance(window, timedelta) else window
        monitor = self.monitor(version.model, text)
        run_monitor(self.workspace.stores, monitor, version, alerts=False)
        return read_monitor(self.workspace.stores, monitor, version)

    def monitor(self, model: str, window: str | None = None) -> Monitor:
        """The declared monitor of a model, or the usual one."""

        from carrara.pipelines.monitor import monitor_of

        found = monitor_of(self.workspace.definitions, model)
        return found if window is None else replace(found, window=window)

    def outcomes(self, address: str, rows: Any) -> Outcomes:
        """Hand in outcomes: a dataframe, a list of mappings, the path of a CSV or Parquet file, or a dataset's name."""

        from carrara.monitoring.outcomes import add_outcomes
        from carrara.pipelines.outcomes import read_outcomes

        version = self.workspace.version(address)
        frame, where = read_outcomes(self.workspace.stores, rows)
        return add_outcomes(self.workspace.stores, version, frame, where=where)

    def prediction(self, prediction_id: str, *, model: str | None = None) -> ExplainedPrediction:
        """From one answer back to everything that made it."""

        from carrara.pipelines.explain_prediction import explain_prediction

        return explain_prediction(self.workspace.stores, prediction_id, model=model)

    def alerts(self, model: str | None = None, *, open_only: bool = False) -> list[AlertState]:
        """The newest first; of all models, or of one."""
        return list_alerts(self.workspace.stores.metadata, model, open_only=open_only)

    def silence(self, model: str, lasting: timedelta, *, rule: str | None = None, reason: str = "") -> Silence:
        """Tell nobody of a model's alerts, or of one rule's, for so long; their states go on."""
        now = self.workspace.clock()
        return add_silence(self.workspace.stores.metadata, model, rule, now, now + lasting, reason)

    def losses(self) -> list[PredictionLoss]:
        """The predictions that were answered and are not in the log."""
        return list_losses(self.workspace.stores.metadata)

    def log(self, model: str) -> pl.DataFrame:
        """The prediction log of a model."""
        return self.workspace.predictions(model)

    def publish(
        self,
        model: str,
        topic: Kafka,
        stopping: threading.Event,
        told: Callable[[int], None],
        *,
        until_empty: bool = False,
    ) -> None:
        """Write a model's logged predictions to a topic, each id once, until `stopping` is set, or what is there."""
        from carrara.monitoring.publish import publish

        writer = f"carrara-{self.workspace.configuration.name}-{model}-{topic.topic}"
        publish(self.workspace.stores, model, topic, writer, stopping, told, until_empty=until_empty)

    def report(self, address: str, path: Path | None = None, *, window: str | None = None) -> Path:
        """Write the newest windows as one self-contained HTML page, by default into `reports/`; its path."""
        from carrara.monitoring.report import render_report

        found = self.show(address, window=window)
        target = path or self.workspace.root / "reports" / f"monitor-{found.model}-{found.version}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(render_report(found), encoding="utf-8")
        return target
