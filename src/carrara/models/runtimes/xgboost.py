"""XGBoost's own runtime, for boosters that have no equal form in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.models.runtimes.base import Tensors
from carrara.models.runtimes.onnx import Matrix, zeros
from carrara.models.signature import Signature


class XGBoostServable:
    """A folder with `model.ubj`, XGBoost's binary JSON, which carries no code."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        xgboost = require("xgboost", extra="xgboost", purpose="a model in XGBoost's own format")
        self.signature = signature
        self._matrix = Matrix(folder, signature)
        self._booster = xgboost.Booster({"nthread": 1}, model_file=str(folder / "model.ubj"))

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        scores = self._booster.inplace_predict(self._matrix(inputs))
        return {self.signature.outputs[0].name: np.asarray(scores, np.float32)}

    def warm_up(self) -> None:
        self.run(zeros(self.signature))

    def close(self) -> None:
        self._booster = None
