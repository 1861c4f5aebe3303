"""MLflow's model folder, read: its flavors, its signature, and the example of an input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import DataError, StorageError
from carrara.core.plugins import require

MLMODEL = "MLmodel"

_TYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "datetime": "datetime",
}
_TENSOR_TYPES = {"str": "string", "object": "string", "bool": "bool"}
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)")


@dataclass(frozen=True)
class MlflowInput:
    """A column or a tensor that a model takes: its type as definitions name it, such as `float64` or `float32[28, 28]`;
    `name` is None where MLflow knows it by none."""

    name: str | None
    type: str


@dataclass(frozen=True)
class MlflowFolder:
    """A model as MLflow has saved it; `described` is its MLmodel."""

    path: Path
    described: Mapping[str, Any]

    @cached_property
    def flavors(self) -> dict[str, dict[str, Any]]:
        return {name: conf for name, conf in self.described["flavors"].items() if isinstance(conf, dict)}

    @cached_property
    def signature(self) -> dict[str, list[dict[str, Any]]]:
        """Inputs, outputs and params as MLflow tells them; what it does not tell is left out."""
        told = self.described.get("signature") or {}
        return {side: json.loads(text) for side, text in told.items() if isinstance(text, str)}

    @cached_property
    def inputs(self) -> tuple[MlflowInput, ...]:
        """What the signature says that the model takes, empty without one; DataError for what is no column."""
        return tuple(_input(one, self.path) for one in self.signature.get("inputs", []))

    @cached_property
    def example(self) -> Any:
        """The example of an input as it was saved, plain data; None without one."""
        told = self.described.get("saved_input_example_info") or {}
        path = self.file(str(told["artifact_path"])) if told.get("artifact_path") else None
        if path is None or path.suffix != ".json" or not path.is_file():
            return None
        return msgspec.json.decode(path.read_bytes())

    @cached_property
    def requirements(self) -> dict[str, str]:
        """The distributions that the model was logged with, in their versions."""
        path = self.path / "requirements.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return {found[1]: found[2] for line in lines if (found := _PINNED.match(line))}

    def file(self, name: str) -> Path:
        """A file or folder of the model; DataError for a name that leads out of it."""
        path = (self.path / name).resolve()
        if not path.is_relative_to(self.path.resolve()):
            raise DataError(f"{self.path / MLMODEL} names '{name}', which is not in its folder")
        return path


def read_folder(path: Path) -> MlflowFolder:
    """The model in a folder; DataError where there is none."""
    yaml = require("yaml", extra="mlflow", purpose="a model of MLflow")
    try:
        described = yaml.safe_load((path / MLMODEL).read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path / MLMODEL} cannot be read: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path / MLMODEL} is not what MLflow writes: {error}") from error
    if not isinstance(described, dict) or not isinstance(described.get("flavors"), dict):
        raise DataError(f"{path / MLMODEL} names no flavors")
    return MlflowFolder(path, described)


def _input(told: Mapping[str, Any], path: Path) -> MlflowInput:
    name = told.get("name")
    if told.get("type") != "tensor":
        return MlflowInput(name, _known(_TYPES.get(str(told.get("type"))), told, path))
    spec = told["tensor-spec"]
    dtype, (rows, *sizes) = str(spec["dtype"]), spec["shape"] or [None]
    dtype = _TENSOR_TYPES.get(dtype, "string" if dtype.startswith("<U") else dtype)
    if not sizes and rows == -1:
        return MlflowInput(name, _known(dtype if dtype in _TYPES.values() else None, told, path))
    numbers = dtype.startswith(("float", "int", "uint", "bool"))
    sized = all(size > 0 for size in sizes)
    return MlflowInput(name, _known(f"float32{sizes}" if numbers and sized and rows == -1 else None, told, path))


def _known(type_: str | None, told: Mapping[str, Any], path: Path) -> str:
    if type_ is None:
        raise DataError(
            f"the input {told.get('name') or told} of {path / MLMODEL} is no column that can be served",
            hint="There are numbers, texts, booleans, times, and arrays of one size.",
        )
    return type_
