"""A folder of numbered versions as what to serve: FOLDER/1/model.onnx, FOLDER/2/saved_model.pb, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from carrara.core.errors import NotFoundError
from carrara.models.runtimes.base import open_folder
from carrara.serving.contract import Endpoint, Target
from carrara.serving.folder_predictor import DEFAULT_OPENING, FolderPredictor, Opening
from carrara.serving.model_config import BATCHING_FILE, read_batching
from carrara.serving.version_assets import lineage_id, recorded_requests, tell_session_settings
from carrara.serving.version_sources import VersionSource
from carrara.serving.versions import Latest, VersionPolicy


@dataclass(frozen=True)
class VersionFolder:
    """The versions of `source` that `policy` chooses, as an endpoint of a manager and its loader."""

    name: str
    source: VersionSource
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)
    opening: Opening = DEFAULT_OPENING
    base_path: str = ""

    def endpoint(self) -> Endpoint:
        """What to serve now; OSError where the folder cannot be read."""
        versions = self.policy.choose(self.source.versions())
        return Endpoint(self.name, tuple(Target(self.name, self.name, one) for one in versions), self.labels)

    def load(self, target: Target) -> FolderPredictor:
        """The version's model; NotFoundError where its folder is gone or has none."""
        if target.version not in self.source.versions():
            raise NotFoundError("version", str(target), where=self.name)
        with self.source.opened(target.version) as folder:
            opening = self._opening_of(folder)
            tell_session_settings(folder, str(target))
            requests = recorded_requests(folder) if self.opening.warm_up else b""
            servables = open_folder(folder, self.opening.saved_model_tags, allow_code=self.opening.allow_code)
            size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
            path = f"{self.base_path.rstrip('/')}/{target.version}"
            return FolderPredictor(target, servables, opening, requests, size, identifier=lineage_id(folder), path=path)

    def _opening_of(self, folder: Path) -> Opening:
        """How a version is opened, which may say for itself how it is batched; ConfigurationError where it is wrong."""
        if not self.opening.own_batching:
            return self.opening
        file = folder / BATCHING_FILE
        most, sizes = read_batching(file) if file.is_file() else (1, ())
        return replace(self.opening, most_rows=most, sizes=sizes)
