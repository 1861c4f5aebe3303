"""The protocol of a notifier, and what is told.

To add one: a frozen dataclass with these members in a file of its own, and a case in its tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class Told:
    """One alert as it is told: it is `firing` or `resolved`; `details` hold what moved most."""

    id: str
    rule: str
    severity: str
    description: str
    state: str
    since: datetime
    window_start: datetime
    window_end: datetime
    details: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        times = {name: getattr(self, name).isoformat() for name in ("since", "window_start", "window_end")}
        return {**vars(self), **times}


@dataclass(frozen=True)
class Notification:
    """What changed of one model version: one message, whatever the number of alerts in it.

    `url` leads to the version's page, where the configuration says where the pages are.
    """

    workspace: str
    model: str
    version: int
    at: datetime
    alerts: tuple[Told, ...]
    url: str = ""

    @property
    def title(self) -> str:
        firing = sum(one.state == "firing" for one in self.alerts)
        parts = [f"{firing} firing"] if firing else []
        parts += [f"{len(self.alerts) - firing} resolved"] if firing < len(self.alerts) else []
        return f"{self.model}@{self.version}: {', '.join(parts)}"

    def text(self) -> str:
        """For people: each alert with its window, what moved most, and where to look."""
        lines = [self.title]
        for one in self.alerts:
            lines.append(f"{one.state.upper()} {one.rule} ({one.severity}) {one.description}")
            lines.append(f"  window {one.window_start:%Y-%m-%d %H:%M} to {one.window_end:%Y-%m-%d %H:%M} UTC")
            lines += [f"  {line}" for line in one.details.get("lines", ())]
        lines.append(self.url or f"carrara monitor show {self.model}@{self.version} --workspace {self.workspace}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {
            "workspace": self.workspace,
            "model": self.model,
            "version": self.version,
            "at": self.at.isoformat(),
            "title": self.title,
            "url": self.url or None,
            "alerts": [one.as_dict() for one in self.alerts],
        }


class Notifier(Protocol):
    """Tells what changed."""

    @property
    def kind(self) -> str: ...

    def spec(self) -> dict[str, Any]: ...

    def send(self, notification: Notification) -> None:
        """Tell it, or raise; within seconds, whatever the other side does."""
