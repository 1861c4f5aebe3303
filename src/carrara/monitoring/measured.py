"""What Prometheus is told of the windows that are computed: of each model the newest, and nothing that is long over.

A gauge keeps its last value for as long as its process lives. So everything is told anew each time, and of a model
whose newest window ended long ago no drift and no quality: neither is known of now (P11).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from carrara.core.metrics import (
    ALERTS_FIRING,
    METRIC_WINDOW_END,
    MONITOR_DRIFT,
    MONITOR_EFFECT,
    MONITOR_METRIC,
    MONITOR_WINDOW_END,
)
from carrara.metadata.alerts import FIRING, list_alerts
from carrara.metadata.monitor_windows import SPAN, RecordedWindow, list_windows, windows_by_version
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.run import read_result
from carrara.storage.stores import Stores

_KEPT_WINDOWS = 2
"""For so many windows after its end the newest one counts as what is now."""


def measure_windows(stores: Stores, monitors: Iterable[Monitor]) -> None:
    """Tell how the newest windows of these monitors' models stand, and how many alerts fire."""
    for gauge in (MONITOR_DRIFT, MONITOR_EFFECT, MONITOR_METRIC, METRIC_WINDOW_END, MONITOR_WINDOW_END, ALERTS_FIRING):
        gauge.clear()
    versions = [(one.model, one.version) for one in windows_by_version(stores.metadata)]
    for monitor in monitors:
        fires = [one for one in list_alerts(stores.metadata, monitor.name, open_only=True) if one.state == FIRING]
        ALERTS_FIRING.labels(monitor.name).set(len(fires))
        _measure(stores, monitor, _over(stores, monitor, [n for model, n in versions if model == monitor.name]))


def _over(stores: Stores, monitor: Monitor, versions: Iterable[int]) -> list[RecordedWindow]:
    """The windows that are computed and whose time is over, the newest last."""
    windows = [
        window
        for version in versions
        for window in list_windows(stores.metadata, monitor.name, version)
        if window.result is not None and window.state != SPAN and window.key.end - window.key.start == monitor.length
    ]
    over = [one for one in windows if one.key.end <= stores.clock()]
    return sorted(over, key=lambda one: (one.key.end, one.key.version))


def _measure(stores: Stores, monitor: Monitor, windows: Sequence[RecordedWindow]) -> None:
    if not windows:
        return
    model, newest = monitor.name, windows[-1]
    MONITOR_WINDOW_END.labels(model).set(newest.key.end.timestamp())
    if stores.clock() > newest.key.end + _KEPT_WINDOWS * monitor.length:
        return
    for one in read_result(stores, newest)["drift"]:
        MONITOR_DRIFT.labels(model, one["feature"]).set(one["psi"])
        MONITOR_EFFECT.labels(model, one["feature"]).set(one["effect_deviations"] or 0.0)
    judged = next((one for one in reversed(windows) if one.outcomes), None)
    if judged is None:
        return
    METRIC_WINDOW_END.labels(model).set(judged.key.end.timestamp())
    for name, value in (read_result(stores, judged)["metrics"] or {}).items():
        if value["value"] is not None:
            MONITOR_METRIC.labels(model, name).set(value["value"])
