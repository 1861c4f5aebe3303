"""Alerts as JSON to a URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from carrara.core.outbound import check_url, post
from carrara.monitoring.notify.base import Notification


@dataclass(frozen=True)
class Webhook:
    """POSTs each notification to `url`, which may hold `${VARIABLES}` of the environment for what is secret.

    Addresses in private networks are refused, unless it is `private`; redirects are not followed.
    """

    url: str
    private: bool = False

    kind = "webhook"

    def __post_init__(self) -> None:
        check_url(self.url)

    def spec(self) -> dict[str, Any]:
        return {"url": self.url, "private": self.private}

    def send(self, notification: Notification) -> None:
        post(self.url, msgspec.json.encode(notification.as_dict()), private=self.private)
