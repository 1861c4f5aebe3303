"""What was served last, in a file beside the workspace: a server can start while the metadata store is away."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from carrara.metadata.deployments import Deployment
from carrara.models.registry import ModelVersion

_logger = logging.getLogger("carrara.serving")


@dataclass(frozen=True)
class LastServed:
    """Deployments, and the versions that they name, as the metadata store had them."""

    deployed: tuple[Deployment, ...] = ()
    versions: tuple[ModelVersion, ...] = ()

    def version(self, model: str, number: int) -> ModelVersion | None:
        return next((one for one in self.versions if (one.model, one.version) == (model, number)), None)


class LastServedFile:
    """Keeps `LastServed` in `.carrara/serving.json`, complete or as it was."""

    def __init__(self, root: Path) -> None:
        self._path = root / ".carrara" / "serving.json"

    def read(self) -> LastServed:
        """What was kept; nothing where there is no file, or one of another release."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=LastServed)
        except (OSError, msgspec.DecodeError):
            return LastServed()

    def write(self, deployed: Sequence[Deployment], versions: Sequence[ModelVersion]) -> None:
        """Keep it; a disk that does not take it is no reason to stop serving."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(LastServed(tuple(deployed), tuple(versions))))
            os.replace(temporary, self._path)
        except OSError:
            _logger.exception("what is served could not be kept in %s", self._path)
