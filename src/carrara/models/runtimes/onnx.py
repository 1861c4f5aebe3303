"""ONNX Runtime: the default runtime, and what makes a matrix of features for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.core.named_columns import as_matrix
from carrara.models.runtimes.base import TRANSFORMS, Servable, Tensors
from carrara.models.signature import DEFAULT_SIGNATURE, NUMPY_TYPES, Signature, TensorSpec

_GRAPH_TYPES = {"float": "float32", "double": "float64"} | {
    name: name for name in NUMPY_TYPES if name not in ("float32", "float64", "bytes", "datetime", "bfloat16")
}


def session(model: bytes) -> Any:
    """An ONNX Runtime session on one thread: a server runs many requests, not one request on many cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Converters declare loose output shapes, and a warning for each batch would fill the log.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def read_signature(path: Path) -> Signature:
    """The signature that a graph itself declares; DataError for a type that no signature has."""
    graph = session(path.read_bytes())
    return Signature(_specs(graph.get_inputs(), path), _specs(graph.get_outputs(), path))


def _specs(nodes: Any, path: Path) -> tuple[TensorSpec, ...]:
    for node in nodes:
        if node.type.removeprefix("tensor(").removesuffix(")") not in _GRAPH_TYPES:
            raise DataError(f"'{node.name}' of {path} has the type {node.type}, which cannot be served")
    return tuple(
        TensorSpec(
            node.name,
            _GRAPH_TYPES[node.type.removeprefix("tensor(").removesuffix(")")],
            tuple(size if isinstance(size, int) else None for size in node.shape),
        )
        for node in nodes
    )


class OnnxServable:
    """A folder with `model.onnx`."""

    FILE = "model.onnx"

    def __init__(self, folder: Path, signature: Signature) -> None:
        self.signature = signature
        self._session = session((folder / self.FILE).read_bytes())
        self._feed = Feed(self._session, signature)
        self._outputs = [spec.name for spec in signature.outputs]

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = ()) -> dict[str, Servable]:
        """The graph, by the names that it has itself."""
        signature = read_signature(folder / OnnxServable.FILE)
        return {DEFAULT_SIGNATURE: OnnxServable(folder, signature)}

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        return dict(zip(self._outputs, self._session.run(self._outputs, self._feed(inputs)), strict=True))

    def warm_up(self) -> None:
        self.run(zeros(self.signature))

    def close(self) -> None:
        self._session = None


class Feed:
    """What a graph is fed of the tensors of a signature: each by its name, and the others joined to one matrix."""

    def __init__(self, graph: Any, signature: Signature) -> None:
        named = {one.name for one in graph.get_inputs()}
        self._named = [spec for spec in signature.inputs if spec.name in named]
        joined = [spec for spec in signature.inputs if spec.name not in named]
        self._columns = tuple(spec.name for spec in joined)
        self._dtype = np.result_type(*(NUMPY_TYPES[spec.dtype] for spec in joined)) if joined else np.dtype("float32")
        (self._matrix,) = (named - {spec.name for spec in self._named}) or {None}

    def __call__(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        feed = fed(inputs, self._named)
        if self._matrix is not None:
            feed[self._matrix] = as_matrix(inputs, self._columns, self._dtype)
        return feed


class Matrix:
    """The matrix that a model in its own format takes: its transforms' result, or its features side by side."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        self._columns = tuple(spec.name for spec in signature.inputs)
        # What was imported may compare in float64; what is trained here never does.
        exact = any(spec.dtype == "float64" for spec in signature.inputs)
        self._dtype = np.dtype("float64" if exact else "float32")
        self._session = session((folder / TRANSFORMS).read_bytes()) if (folder / TRANSFORMS).exists() else None
        self._feed = None if self._session is None else Feed(self._session, signature)

    def __call__(self, inputs: Tensors) -> np.ndarray[Any, Any]:
        if self._session is None or self._feed is None:
            return as_matrix(inputs, self._columns, self._dtype)
        (found,) = self._session.run(None, self._feed(inputs))
        return np.asarray(found)


def matrix_signature(rows: Any, answers: Any) -> Signature:
    """What a model takes that knows no names: `inputs`, a matrix; and gives: `outputs`; by an example of both."""
    return Signature(
        (TensorSpec("inputs", "float32", (None, *rows.shape[1:])),),
        (TensorSpec("outputs", "float32", (None, *answers.shape[1:])),),
    )


def zeros(signature: Signature) -> dict[str, np.ndarray[Any, Any]]:
    """One row of zeros and empty texts."""
    return {spec.name: _zero([size or 1 for size in spec.shape or ()], spec.dtype) for spec in signature.inputs}


def _zero(shape: list[int], dtype: str) -> np.ndarray[Any, Any]:
    empty: dict[str, Any] = {"string": "", "bytes": b""}
    return np.full(shape, empty.get(dtype, 0), NUMPY_TYPES[dtype])


def folder_feed(folder: Path, signature: Signature) -> Callable[[Tensors], dict[str, np.ndarray[Any, Any]]]:
    """What a server of a folder is asked by, of the tensors of a signature: the names that the model there has itself.
    A SavedModel has the features' own."""
    graph = folder / OnnxServable.FILE
    return Feed(session(graph.read_bytes()), signature) if graph.is_file() else partial(fed, specs=signature.inputs)


def fed(inputs: Tensors, specs: Iterable[TensorSpec]) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs by their names, each of its type."""
    return {spec.name: _tensor(inputs[spec.name], spec.dtype) for spec in specs}


def _tensor(values: Any, dtype: str) -> np.ndarray[Any, Any]:
    found = np.asarray(values, NUMPY_TYPES[dtype])
    if dtype == "string":
        # A missing text is the empty one; a graph knows no other.
        texts = [value if isinstance(value, str) else "" for value in found.ravel()]
        found = np.array(texts, dtype=object).reshape(found.shape)
    return found
