"""A folder of numbered versions as what to serve: FOLDER/1/model.onnx, FOLDER/2/model.onnx, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import ConfigurationError, NotFoundError, RequestError
from carrara.models.runtimes.base import open_folder
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.serving.contract import Endpoint, Prediction, Target
from carrara.serving.versions import Latest, VersionPolicy


@dataclass(frozen=True)
class VersionFolder:
    """The versions in `folder` that `policy` chooses, as an endpoint of a manager and its loader."""

    name: str
    folder: Path
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ConfigurationError(
                f"there is no folder '{self.folder}' to serve '{self.name}' from",
                hint="Give --model_base_path the folder that holds 1/, 2/, ...",
            )

    def endpoint(self) -> Endpoint:
        """What to serve now; OSError where the folder cannot be read."""
        versions = self.policy.choose(self._found())
        return Endpoint(self.name, tuple(Target(self.name, self.name, one) for one in versions), self.labels)

    def load(self, target: Target) -> FolderPredictor:
        """The version's model; NotFoundError where its folder has none."""
        found = self._found()
        if target.version not in found:
            raise NotFoundError("version", str(target), where=str(self.folder))
        return FolderPredictor(target, found[target.version])

    def _found(self) -> dict[int, Path]:
        return {int(one.name): one for one in self.folder.iterdir() if one.name.isdecimal() and one.is_dir()}


class FolderPredictor:
    """One version of a folder: its signatures, by the names that the model itself has. Thread-safe."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.model, self.version = target.model, target.version
        self._servables = open_folder(folder)
        self.signatures = {name: servable.signature for name, servable in self._servables.items()}

    def signature_for(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> str:
        return DEFAULT_SIGNATURE

    def predict(self, inputs: Mapping[str, np.ndarray[Any, Any]], signature_name: str = "") -> Prediction:
        """The model's outputs; RequestError names a bad input, NotFoundError a signature that is not there."""
        name, where = signature_name or DEFAULT_SIGNATURE, f"{self.model}@{self.version}"
        if name not in self.signatures:
            raise NotFoundError("signature", name, self.signatures, where=where)
        _check(self.signatures[name], inputs, where)
        rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
        return Prediction(self._servables[name].run(inputs), name, rows)

    def warm_up(self) -> None:
        for servable in self._servables.values():
            servable.warm_up()

    def close(self) -> None:
        for servable in self._servables.values():
            servable.close()


def _check(signature: Signature, inputs: Mapping[str, np.ndarray[Any, Any]], where: str) -> None:
    """RequestError, in TensorFlow Serving's words, where names or shapes are not those of the signature."""
    wanted, sent = {spec.name for spec in signature.inputs}, inputs.keys()
    if wanted != sent:
        raise RequestError(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). "
            f"Sent extra: {_set(sent - wanted)}. Missing but required: {_set(wanted - sent)}.",
            field=min(sent ^ wanted),
        )
    for spec in signature.inputs:
        spec.check(inputs[spec.name].shape, where)


def _set(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"
