"""Which reader opens a model of MLflow: of the flavors that it has, the first that is safe."""

from __future__ import annotations

from carrara.core.errors import DataError, NotFoundError
from carrara.evaluation.metrics import Kind
from carrara.models.mlflow.folder import MlflowFolder
from carrara.training.imports import lightgbm, nets, onnx, xgboost
from carrara.training.imports.base import ImportedModel, Reader
from carrara.training.trainers.base import OUTPUTS

READERS: dict[str, Reader] = {
    "onnx": onnx.read,
    "xgboost": xgboost.read,
    "lightgbm": lightgbm.read,
    "tensorflow": nets.read_tensorflow,
    "pytorch": nets.read_torch,
}


def read_model(folder: MlflowFolder, kind: str | None = None) -> tuple[str, ImportedModel]:
    """The flavor that was taken, and the model; DataError where all that is there would run somebody's code."""
    asked: Kind | None = next((one for one in OUTPUTS if one == kind), None)
    if kind is not None and asked is None:
        raise NotFoundError("kind of model", kind, OUTPUTS)
    for flavor, read in READERS.items():
        if flavor in folder.flavors:
            return flavor, read(folder, folder.flavors[flavor], asked)
    there = ", ".join(name for name in folder.flavors if name != "python_function") or "python_function"
    raise DataError(
        f"{folder.path} is a model of the flavor {there}, which is opened by unpickling it: that runs code",
        hint="Export it to ONNX where it was trained, and log that: mlflow.onnx.log_model(…).",
    )
