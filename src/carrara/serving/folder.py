"""A folder of numbered versions as what to serve: FOLDER/1/model.onnx, FOLDER/2/model.onnx; the newest is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import ConfigurationError, NotFoundError
from carrara.models.runtimes.base import open_servable
from carrara.models.runtimes.onnx import read_signature
from carrara.models.signature import DEFAULT_SIGNATURE
from carrara.serving.contract import Prediction, Target

MODEL = "model.onnx"


class VersionFolder:
    """The versions in `folder`, as a manager's targets and loader."""

    def __init__(self, name: str, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(
                f"there is no folder '{folder}' to serve '{name}' from",
                hint="Give --model_base_path the folder that holds 1/, 2/, ...",
            )
        self._name, self._folder = name, folder

    def desired(self) -> list[Target]:
        """The newest version; OSError where the folder cannot be read."""
        versions = [int(one.name) for one in self._folder.iterdir() if one.name.isdecimal() and one.is_dir()]
        return [Target(self._name, self._name, max(versions))] if versions else []

    def load(self, target: Target) -> FolderPredictor:
        """The version's model; NotFoundError where its folder has none."""
        for folder in self._folder.iterdir():
            if folder.name.isdecimal() and int(folder.name) == target.version:
                return FolderPredictor(target, folder)
        raise NotFoundError("version", f"{target.model}, {target.version}")


class FolderPredictor:
    """One version of a folder: its graph, by the names that the graph has. Thread-safe."""

    def __init__(self, target: Target, folder: Path) -> None:
        if not (folder / MODEL).is_file():
            raise NotFoundError("model file", MODEL, where=str(folder), hint="Only ONNX is served from a folder yet.")
        self.model, self.version = target.model, target.version
        self._servable = open_servable("onnx", folder, read_signature(folder / MODEL))
        self.signatures = {DEFAULT_SIGNATURE: self._servable.signature}

    def predict(self, inputs: Mapping[str, np.ndarray[Any, Any]], signature_name: str = "") -> Prediction:
        """The graph's outputs; RequestError names a bad input, NotFoundError a signature that is not there."""
        name, where = signature_name or DEFAULT_SIGNATURE, f"{self.model}@{self.version}"
        if name not in self.signatures:
            raise NotFoundError("signature", name, self.signatures, where=where)
        rows = self.signatures[name].check(inputs, where)
        return Prediction(self._servable.run(inputs), name, rows)

    def warm_up(self) -> None:
        self._servable.warm_up()

    def close(self) -> None:
        self._servable.close()
