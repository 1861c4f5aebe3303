"""A model version as it does in production: what is recorded of its windows, and which of them nobody has computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from carrara.evaluation.metrics import Metric
from carrara.metadata.alerts import AlertState, list_alerts
from carrara.metadata.monitor_windows import SPAN, RecordedWindow, list_windows
from carrara.metadata.prediction_losses import PredictionLoss, list_losses
from carrara.models.registry import ModelVersion
from carrara.monitoring.alerting import Standing, standing
from carrara.monitoring.judge import Judge
from carrara.monitoring.monitor import Monitor, window_of
from carrara.monitoring.notebook import report_card, window_card
from carrara.monitoring.outcomes import LABEL, join_outcomes
from carrara.monitoring.prediction_log import log_table, once, scan_log
from carrara.monitoring.rule import Facts, evaluate_rule
from carrara.monitoring.run import SO_FAR, no_predictions, read_judged, read_result
from carrara.monitoring.sampling import SAMPLED
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class Window:
    """One window of predictions.

    `state` is `complete`; `open`, as long as its time is not over; `changed`, when predictions came, or its time ended,
    since it was computed; `failed`, `running`, `not computed`, or `no predictions`. `health` is of what is complete, as
    alerts are: `alert` when a rule holds, `ok` when none of those that are known does; it is `unknown` in every other
    case. `holds` are the rules that hold, so far where it is open.
    """

    start: datetime
    end: datetime
    state: str
    health: str
    predictions: int
    outcomes: int
    computed_at: datetime | None = None
    error: str | None = None
    holds: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Live quality; None as long as no outcome is known."""
        return self.result.get("metrics")

    @property
    def drift(self) -> list[dict[str, Any]]:
        """Every feature against training, what changes the output most first."""
        return list(self.result.get("drift", ()))

    @property
    def score_drift(self) -> dict[str, Any]:
        return dict(self.result.get("score_drift", {}))

    def as_dict(self) -> dict[str, Any]:
        times = {"start": self.start.isoformat(), "end": self.end.isoformat()}
        computed = self.computed_at.isoformat() if self.computed_at else None
        told = {name: getattr(self, name) for name in ("state", "health", "predictions", "outcomes", "error", "holds")}
        return {**self.result, **times, **told, "computed_at": computed}

    def _repr_html_(self) -> str:
        return window_card(self)


@dataclass(frozen=True)
class MonitorReport:
    """A model version: all of its predictions together, beside its evaluation, and by window."""

    model: str
    version: int
    as_of: datetime
    predictions: int
    outcomes: int
    metrics: dict[str, Any] | None
    evaluation: dict[str, Any]
    windows: list[Window]
    alerts: list[AlertState]
    standings: list[Standing]
    losses: list[PredictionLoss]

    def as_dict(self) -> dict[str, Any]:
        lists = {
            "windows": [window.as_dict() for window in self.windows],
            "alerts": [alert.as_dict() for alert in self.alerts],
            "rules": [one.as_dict() for one in self.standings],
            "losses": [loss.as_dict() for loss in self.losses],
        }
        plain = {n: getattr(self, n) for n in ("model", "version", "predictions", "outcomes", "metrics", "evaluation")}
        return {**plain, "as_of": self.as_of.isoformat(), **lists}

    def _repr_html_(self) -> str:
        return report_card(self)


def read_monitor(stores: Stores, monitor: Monitor, version: ModelVersion) -> MonitorReport:
    """What is recorded of a version's windows, held against the log's counts; nothing is computed.

    DataError when nothing was predicted yet.
    """
    found = _report(stores, monitor, version, _logged(stores, monitor, version))
    if not found.windows:
        raise no_predictions(version)
    return found


def recorded_monitor(stores: Stores, monitor: Monitor, version: ModelVersion) -> MonitorReport:
    """What is recorded of a version's windows and nothing else: the log is not read, however long it is.

    What came since the newest window was computed is not seen; without any window there are none.
    """
    return _report(stores, monitor, version, None)


def _report(
    stores: Stores, monitor: Monitor, version: ModelVersion, logged: Mapping[datetime, int] | None
) -> MonitorReport:
    recorded = list_windows(stores.metadata, version.model, version.version)
    span = next((one for one in recorded if one.state == SPAN), None)
    of_length = [w for w in recorded if w.state != SPAN and w.key.end - w.key.start == monitor.length]
    windows = _with_gaps(stores, monitor, of_length, logged)
    if span is None and len(windows) == 1 and of_length:
        span = of_length[0]
    overall = read_result(stores, span) if span is not None and span.result is not None else {}
    judged = read_judged(stores, version, monitor.length, closed_only=True)
    alerts = [one for one in list_alerts(stores.metadata, version.model) if one.version == version.version]
    return MonitorReport(
        model=version.model,
        version=version.version,
        as_of=stores.clock(),
        predictions=overall.get("predictions", 0),
        outcomes=overall.get("outcomes", 0),
        metrics=overall.get("metrics"),
        evaluation=overall.get("evaluation", {}),
        windows=windows,
        alerts=alerts,
        standings=[standing(alert, judged) for alert in monitor.alerts],
        losses=list_losses(stores.metadata),
    )


def _with_gaps(
    stores: Stores, monitor: Monitor, recorded: Sequence[RecordedWindow], logged: Mapping[datetime, int] | None
) -> list[Window]:
    """The recorded windows, what is between them, and what came after; a stretch without predictions is one."""
    starts = {one.key.start: one for one in recorded}
    known = sorted({*starts, *(logged or {})})
    found: list[Window] = []
    end = known[0] if known else None
    for start in known:
        if end is not None and start > end:
            found.append(_absent(end, start, 0))  # A run of the monitor computes every window that has predictions.
        one, end = starts.get(start), start + monitor.length
        rows = logged.get(start, 0) if logged is not None else None
        found.append(_window(stores, monitor, one, rows) if one is not None else _absent(start, end, rows))
    now = window_of(stores.clock(), monitor.length)
    if end is not None and now > end:
        found.append(_absent(end, now, 0 if logged is not None else None))
    return found


def _logged(stores: Stores, monitor: Monitor, version: ModelVersion) -> dict[datetime, int]:
    """How many predictions the log has in each window."""
    if not stores.lake.exists(log_table(version.model)):
        return {}
    rows = scan_log(stores, version.model).filter((pl.col("version") == version.version) & (pl.col(SAMPLED) == "rate"))
    times = once(rows.select("prediction_id", "version", "shadow", "event_time")).select("event_time").collect()
    hours = times.group_by(pl.col("event_time").dt.truncate("1m")).len().iter_rows()
    found: dict[datetime, int] = {}
    for minute, count in hours:
        start = window_of(minute, monitor.length)
        found[start] = found.get(start, 0) + count
    return found


def _window(stores: Stores, monitor: Monitor, one: RecordedWindow, logged: int | None) -> Window:
    """A recorded window; `logged` is how many predictions the log has of it now, None where nobody has looked."""
    result = read_result(stores, one) if one.result is not None else {}
    state = one.state
    if state == "complete" and logged is not None and logged != one.predictions:
        state = "changed"
    elif state == "complete" and one.key.end > stores.clock():
        state = "open"
    elif state == "complete" and one.inputs.endswith(SO_FAR):
        state = "changed"
    held = {alert.rule: evaluate_rule(alert.rule, Facts(result)) for alert in monitor.alerts} if result else {}
    holds = tuple(rule for rule, value in held.items() if value)
    settled = state == "complete" and any(value is not None for value in held.values())
    return Window(
        start=one.key.start,
        end=one.key.end,
        state=state,
        health="unknown" if not settled else "alert" if holds else "ok",
        predictions=one.predictions or logged or 0,
        outcomes=one.outcomes or 0,
        computed_at=one.computed_at,
        error=one.error,
        holds=holds,
        result=result,
    )


def _absent(start: datetime, end: datetime, logged: int | None) -> Window:
    """What nobody has computed or has looked for, or where there is nothing to compute; none is healthy."""
    return Window(start, end, "no predictions" if logged == 0 else "not computed", "unknown", logged or 0, 0)


def live_metrics(
    stores: Stores, version: ModelVersion, since: datetime, metrics: Sequence[str | Metric]
) -> tuple[dict[str, Any] | None, int]:
    """What a version's predictions since a moment came to, by outcomes that are known, and how many are."""
    judge = Judge.of(stores, version)
    rows = scan_log(stores, version.model).filter(
        (pl.col("version") == version.version) & (pl.col("logged_at") >= since) & (pl.col(SAMPLED) == "rate")
    )
    known = join_outcomes(stores, judge.rule, once(rows).collect(), slices=judge.rule.needed).drop_nulls(LABEL)
    return judge.metrics(known, metrics), known.height
