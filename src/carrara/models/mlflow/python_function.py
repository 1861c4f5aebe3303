"""How MLflow opens a version that was exported: this file is copied into the model's folder.

It needs NumPy, and for a model in ONNX no Carrara; `carrara/model.json` tells the format, the signature, and the
digest of each file below `model/`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TOLD = "carrara/model.json"
FILES = "model"

Array = np.ndarray[Any, Any]
Run = Callable[[dict[str, Array]], Mapping[str, Array]]


class ExportedModel:
    """What `mlflow.pyfunc.load_model` calls: data frames of features in, a data frame of answers out."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
        for name, digest in told["files"].items():
            if hashlib.sha256((folder / FILES / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{folder / FILES / name} is not what was exported: its digest is another")
        self.inputs: list[dict[str, Any]] = told["signature"]["inputs"]
        self.outputs = [spec["name"] for spec in told["signature"]["outputs"]]
        self._run = (_onnx if told["format"] == "onnx" else _carrara)(folder / FILES, told)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """One row of answers for each row of `data`, a data frame of pandas; several numbers are a list in its cell."""
        found = self._run({spec["name"]: _tensor(data[spec["name"]], spec) for spec in self.inputs})
        columns = {name: found[name] if found[name].ndim == 1 else list(found[name]) for name in self.outputs}
        return type(data)(columns, index=data.index)


def _load_pyfunc(path: str) -> ExportedModel:
    """MLflow asks for the model in a folder by this name."""
    return ExportedModel(Path(path))


def _tensor(column: Any, spec: Mapping[str, Any]) -> Array:
    """A column of a data frame as the model takes it: a missing number is NaN, a missing text is empty."""
    if spec["dtype"] == "string":
        return np.array([value if isinstance(value, str) else "" for value in column], dtype=object)
    if len(spec["shape"]) > 1:
        return np.stack([np.asarray(value, np.float64) for value in column]).astype(spec["dtype"])
    return np.asarray(column.to_numpy(np.float64, na_value=np.nan)).astype(spec["dtype"])


def _onnx(folder: Path, told: Mapping[str, Any]) -> Run:
    """The graph is given each input by its name, and those that it does not name side by side in one matrix."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    types = {one.name: one.type for one in graph.get_inputs()}
    names = [spec["name"] for spec in told["signature"]["inputs"]]
    joined = [name for name in names if name not in types]
    (matrix,) = (set(types) - set(names)) or {""}
    dtype = np.float64 if types.get(matrix) == "tensor(double)" else np.float32

    def run(tensors: dict[str, Array]) -> Mapping[str, Array]:
        feed = {name: array for name, array in tensors.items() if name in types}
        if joined:
            feed[matrix] = np.concatenate([tensors[name].reshape(len(tensors[name]), -1) for name in joined], axis=1)
            feed[matrix] = feed[matrix].astype(dtype)
        outputs = [spec["name"] for spec in told["signature"]["outputs"]]
        return dict(zip(outputs, graph.run(outputs, feed), strict=True))

    return run


def _carrara(folder: Path, told: Mapping[str, Any]) -> Run:
    """A model in another format is opened by the runtime that serves it here."""
    from carrara.models.runtimes.base import open_servable
    from carrara.models.signature import Signature

    return open_servable(told["format"], folder, Signature.from_dict(told["signature"])).run
