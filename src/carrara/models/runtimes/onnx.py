"""ONNX Runtime: the default runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from carrara.models.runtimes.base import Tensors
from carrara.models.signature import NUMPY_TYPES, Signature


def session(model: bytes) -> Any:
    """An ONNX Runtime session on one thread: a server runs many requests, not one request on many cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Converters declare loose output shapes, and a warning for each batch would fill the log.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxServable:
    """A folder with `model.onnx`; columns are joined when the graph takes one matrix of all features."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        self.signature = signature
        self._session = session((folder / "model.onnx").read_bytes())
        inputs = self._session.get_inputs()
        self._matrix = inputs[0].name if len(inputs) == 1 and len(signature.inputs) != 1 else None
        self._outputs = [spec.name for spec in signature.outputs]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        columns = {spec.name: np.asarray(inputs[spec.name], NUMPY_TYPES[spec.dtype]) for spec in self.signature.inputs}
        feed = {self._matrix: np.column_stack(list(columns.values()))} if self._matrix else columns
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))

    def warm_up(self) -> None:
        self.run({spec.name: np.zeros(1, NUMPY_TYPES[spec.dtype]) for spec in self.signature.inputs})

    def close(self) -> None:
        self._session = None
