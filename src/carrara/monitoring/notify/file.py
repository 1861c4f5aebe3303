"""Alerts as lines of JSON in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import StorageError
from carrara.monitoring.notify.base import Notification


@dataclass(frozen=True)
class ToFile:
    """Appends to `path`, which starts at the workspace's folder."""

    path: str

    kind = "file"

    def spec(self) -> dict[str, Any]:
        return {"path": self.path}

    def send(self, notification: Notification) -> None:
        path = Path(notification.workspace) / self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(msgspec.json.encode(notification.as_dict()) + b"\n")
        except OSError as error:
            raise StorageError(f"the alert could not be written to {path}: {error}") from error
