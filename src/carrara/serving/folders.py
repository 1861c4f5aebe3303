"""The folders that a server serves: one, or as many as a configuration lists, which may change while it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.serving.contract import Choice, Endpoint, Predictor, Target
from carrara.serving.folder import VersionFolder
from carrara.serving.folder_predictor import DEFAULT_OPENING, Opening
from carrara.serving.manager import ModelManager
from carrara.serving.model_config import ModelConfig, models_of, read_models
from carrara.serving.request_log import Logging
from carrara.serving.slots import AVAILABLE
from carrara.serving.version_sources import version_source

_logger = logging.getLogger("carrara.serving")

Clock = Callable[[], float]


@dataclass(frozen=True)
class ConfigFile:
    """A `--model_config_file`, read again every `poll_seconds`; 0 reads it once."""

    path: Path
    poll_seconds: float = 0.0


@dataclass
class Folders:
    """What folders hold, as endpoints of a manager, and how a version of them is loaded. Thread-safe."""

    models: Sequence[ModelConfig]
    settle_seconds: float = 1.0
    opening: Opening = DEFAULT_OPENING
    file: ConfigFile | None = None
    early_labels: bool = False
    """Whether a label may name a version that is not loaded."""
    always_present: bool = False
    """Whether what is loaded stays where no folder of a version is left."""
    clock: Clock = time.monotonic
    _folders: dict[str, VersionFolder] = field(init=False)
    _last: dict[str, Endpoint] = field(init=False, default_factory=dict)
    _read_at: float = field(init=False)
    _logged: dict[str, Logging] = field(init=False, default_factory=dict)
    _logged_of: Sequence[ModelConfig] = field(init=False, default=())
    _reloading: threading.RLock = field(init=False, default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._folders = self._opened(self.models)
        self._read_at = self.clock()

    def desired(self) -> list[Endpoint]:
        """What to serve now; of a folder that cannot be read, what it had before."""
        self._poll_file()
        return [self._endpoint(folder) for folder in self._folders.values()]

    def logging(self) -> dict[str, Logging]:
        """What is kept of the requests of each model, where anything is."""
        if self._logged_of is not self.models:
            self._logged = {one.name: one.logging for one in self.models if one.logging is not None}
            self._logged_of = self.models
        return self._logged

    def load(self, target: Target) -> Predictor:
        return self._folders[target.endpoint].load(target)

    def reload(self, manager: ModelManager, config: Any) -> None:
        """Serve the models of a ModelServerConfig, and no others.

        ConfigurationError where one of them cannot be loaded, or a label names a version that is not: then
        everything stays as it was.
        """
        models = models_of(config)
        with self._reloading:
            before, wanted = self._folders, self._opened(models)
            self._await_versions(wanted.values())
            # What there was serves until all that is new can.
            self._folders = {**before, **wanted}
            manager.reconcile()
            wrong = next((error for one in models if (error := self._wrong(manager, one))), "")
            self._folders = before if wrong else wanted
            self.models = self.models if wrong else models
            manager.reconcile()
        if wrong:
            raise ConfigurationError(wrong)

    def _await_versions(self, folders: Collection[VersionFolder]) -> None:
        """A version that was put there just before it is called for is there once it has settled."""
        until = self.clock() + self.settle_seconds
        while not all(self._endpoint(one).targets for one in folders) and self.clock() < until:
            time.sleep(self.settle_seconds / 20)

    def _wrong(self, manager: ModelManager, model: ModelConfig) -> str:
        """Why a model does not serve as its configuration says, or an empty text."""
        states = manager.status(Choice(model.name)) if self._folders[model.name].endpoint().targets else []
        available = {one.version for one in states if one.state == AVAILABLE}
        if not available:
            error = next((one.error for one in states if one.error), "")
            return f"model {model.name}: {error}" if error else f"Could not find any versions of model {model.name}"
        for label, version in model.labels.items():
            if version not in available and not self.early_labels:
                return (
                    f"Request to assign label {label} to version {version} of model {model.name}, "
                    "which is not currently available for inference"
                )
        return ""

    def _opened(self, models: Sequence[ModelConfig]) -> dict[str, VersionFolder]:
        """The folders of models; one that stays where it is keeps what is known of its versions."""
        before: dict[str, VersionFolder] = getattr(self, "_folders", {})
        return {
            one.name: VersionFolder(
                one.name,
                before[one.name].source
                if one.name in before and before[one.name].base_path == one.base_path
                else version_source(one.base_path, self.settle_seconds),
                one.policy,
                one.labels,
                self.opening,
                one.base_path,
            )
            for one in models
        }

    def _endpoint(self, folder: VersionFolder) -> Endpoint:
        try:
            found = folder.endpoint()
            if found.targets or not self.always_present:
                self._last[folder.name] = found
        except OSError as error:
            _logger.error("the versions of %s cannot be listed, and what is loaded stays: %s", folder.name, error)
        return self._last.get(folder.name, Endpoint(folder.name, ()))

    def _poll_file(self) -> None:
        if self.file is None or not self.file.poll_seconds:
            return
        if self.clock() - self._read_at < self.file.poll_seconds:
            return
        self._read_at = self.clock()
        try:
            models = read_models(self.file.path)
            with self._reloading:
                if models != self.models:
                    self._folders, self.models = self._opened(models), models
        except ConfigurationError as error:
            _logger.error("the new configuration is not taken, and the old one stays: %s", error)


def folders_of_file(
    file: ConfigFile, settle_seconds: float, opening: Opening, *, early_labels: bool, always_present: bool
) -> Folders:
    """The models that a configuration file lists; ConfigurationError where they cannot be served."""
    return Folders(read_models(file.path), settle_seconds, opening, file, early_labels, always_present)
