"""Alerts in the process's log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from carrara.monitoring.notify.base import Notification

_log = logging.getLogger("carrara.alerts")


@dataclass(frozen=True)
class ToLog:
    """Warnings of the logger `carrara.alerts`."""

    kind = "log"

    def spec(self) -> dict[str, Any]:
        return {}

    def send(self, notification: Notification) -> None:
        _log.warning("%s", notification.text())
