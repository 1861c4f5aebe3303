"""What a user declares of the monitoring of a model: windows, what is logged, and when to be told what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from carrara.core.clock import duration, from_microseconds, microseconds
from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule
from carrara.evaluation.metrics import metric
from carrara.monitoring.alert import DEFAULT_ALERTS, Alert
from carrara.monitoring.notify.base import Notifier
from carrara.monitoring.notify.log import ToLog
from carrara.monitoring.sampling import EVERYTHING, Sampling

_MONDAY = 4 * 86_400_000_000
"""1970-01-05: windows of whole weeks begin on a Monday."""


@dataclass(frozen=True)
class Monitor:
    """How the model `name` is watched.

    Predictions are judged by windows of their event times (`window`), when a scheduler runs (`schedule`); a window
    whose outcomes are late is judged again for as long as `keep` says. `metrics` are by default the main ones of the
    model's kind, `log` is which predictions are kept, `alerts` when somebody is told, and `notify` how.
    """

    name: str
    window: str = "1d"
    schedule: str | None = "@hourly"
    keep: str = "90d"
    metrics: tuple[str, ...] = ()
    log: Sampling = EVERYTHING
    alerts: tuple[Alert, ...] = DEFAULT_ALERTS
    notify: tuple[Notifier, ...] = (ToLog(),)

    kind = "monitor"

    def __post_init__(self) -> None:
        for text in (self.window, self.keep):
            if not duration(text):
                raise DefinitionError(f"the monitor of '{self.name}' has a window of no length")
        if self.schedule is not None:
            Schedule.of(self.schedule)
        for name in self.metrics:
            metric(name)
        rules = [alert.rule for alert in self.alerts]
        if len(set(rules)) < len(rules):
            raise DefinitionError(f"the monitor of '{self.name}' has an alert twice", hint="Remove one of them.")

    @property
    def length(self) -> timedelta:
        return duration(self.window)

    def spec(self) -> dict[str, Any]:
        return {
            "window": self.window,
            "schedule": self.schedule,
            "keep": self.keep,
            "metrics": list(self.metrics),
            "log": self.log.spec(),
            "alerts": [alert.spec() for alert in self.alerts],
            "notify": [{"to": notifier.kind, **notifier.spec()} for notifier in self.notify],
        }


def window_of(time: datetime, length: timedelta) -> datetime:
    """The beginning of the window that a time is in; windows of a length begin at the same moments for everybody."""
    size = microseconds(length)
    return from_microseconds((microseconds(time) - _MONDAY) // size * size + _MONDAY)
