"""Alerts to Prometheus Alertmanager, by its API v2, which groups, routes and repeats them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from carrara.core.outbound import check_url, post
from carrara.monitoring.notify.base import Notification, Told


@dataclass(frozen=True)
class Alertmanager:
    """`url` is its address, such as http://alertmanager:9093; it is mostly in the same network, so `private`."""

    url: str
    private: bool = True

    kind = "alertmanager"

    def __post_init__(self) -> None:
        check_url(self.url)

    def spec(self) -> dict[str, Any]:
        return {"url": self.url, "private": self.private}

    def send(self, notification: Notification) -> None:
        body = [_alert(notification, one) for one in notification.alerts]
        post(f"{self.url.rstrip('/')}/api/v2/alerts", msgspec.json.encode(body), private=self.private)


def _alert(notification: Notification, one: Told) -> dict[str, Any]:
    labels = {"alertname": one.rule, "severity": one.severity, "job": "carrara"}
    alert = {
        "labels": {**labels, "model": notification.model, "version": str(notification.version)},
        "annotations": {"summary": one.description or one.rule, "description": "\n".join(one.details.get("lines", ()))},
        "startsAt": one.since.isoformat(),
    }
    alert |= {"generatorURL": notification.url} if notification.url else {}
    # Without an end Alertmanager lets an alert go after its own resolve timeout.
    return {**alert, "endsAt": notification.at.isoformat()} if one.state == "resolved" else alert
