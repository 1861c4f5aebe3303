"""LightGBM's own runtime, for boosters that have no equal form in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.models.runtimes.base import Servable, Tensors
from carrara.models.runtimes.onnx import Matrix, matrix_signature, zeros
from carrara.models.signature import DEFAULT_SIGNATURE, Signature


class LightGBMServable:
    """A folder with `model.txt`, LightGBM's text format, which carries no code."""

    FILE = "model.txt"

    def __init__(self, folder: Path, signature: Signature) -> None:
        self.signature = signature
        self._matrix = Matrix(folder, signature)
        self._booster = _booster(folder)

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = ()) -> dict[str, Servable]:
        """The booster: a matrix of its features in, its answers out."""
        booster = _booster(folder)
        rows = np.zeros((1, booster.num_feature()), np.float32)
        return {DEFAULT_SIGNATURE: LightGBMServable(folder, matrix_signature(rows, booster.predict(rows)))}

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        scores = self._booster.predict(self._matrix(inputs), num_threads=1)
        return {self.signature.outputs[0].name: np.asarray(scores, np.float32)}

    def warm_up(self) -> None:
        self.run(zeros(self.signature))

    def close(self) -> None:
        self._booster = None


def _booster(folder: Path) -> Any:
    lightgbm = require("lightgbm", extra="lightgbm", purpose="a model in LightGBM's own format")
    return lightgbm.Booster(model_file=str(folder / LightGBMServable.FILE))
