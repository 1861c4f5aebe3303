"""TensorFlow's runtime: the signatures of a SavedModel, called without the Python around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import DataError, NotFoundError, RequestError
from carrara.core.plugins import require
from carrara.models.runtimes.base import TRANSFORMS, Servable, Tensors
from carrara.models.runtimes.onnx import Matrix, fed, zeros
from carrara.models.signature import DEFAULT_SIGNATURE, NUMPY_TYPES, Signature, TensorSpec

Array = np.ndarray[Any, Any]
Call = Callable[[Mapping[str, Array]], dict[str, Array]]

SERVING_TAGS = ("serve",)
_INIT = "__saved_model_init_op"


class TensorFlowServable:
    """One signature of a folder with `saved_model.pb`.

    Inputs that the SavedModel does not name itself are joined to the one matrix that it takes.
    """

    FILE = "saved_model.pb"

    def __init__(self, folder: Path, signature: Signature) -> None:
        model = _Model(folder, SERVING_TAGS)
        own = model.signature(DEFAULT_SIGNATURE)
        self.signature = signature
        self._feed = _feed(folder, own, signature)
        self._names = _renamed(own.outputs, signature.outputs, folder)
        self._call: Call | None = model.call(DEFAULT_SIGNATURE)

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = SERVING_TAGS) -> dict[str, Servable]:
        """Every signature of the SavedModel that has these tags."""
        model = _Model(folder, tags)
        return {name: SavedModelSignature(model.signature(name), model.call(name)) for name in model.names}

    def run(self, inputs: Tensors) -> dict[str, Array]:
        assert self._call is not None
        found = self._call(self._feed(inputs))
        # A column of one is a row's one number.
        return {
            spec.name: found[self._names[spec.name]].reshape(-1)
            if spec.shape == (None,)
            else found[self._names[spec.name]]
            for spec in self.signature.outputs
        }

    def warm_up(self) -> None:
        self.run(zeros(self.signature))

    def close(self) -> None:
        self._call = None


class SavedModelSignature:
    """One signature of a SavedModel that is open, by its own names. Strings are bytes."""

    def __init__(self, signature: Signature, call: Call) -> None:
        self.signature = signature
        self._call: Call | None = call

    def run(self, inputs: Tensors) -> dict[str, Array]:
        assert self._call is not None
        return self._call(inputs)

    def warm_up(self) -> None:
        # Zeros mean nothing to a signature of texts: it parses them.
        if all(spec.dtype != "bytes" for spec in self.signature.inputs):
            self.run(zeros(self.signature))

    def close(self) -> None:
        self._call = None


class _Model:
    """A SavedModel, loaded: what its signatures say, and how each is called."""

    def __init__(self, folder: Path, tags: Sequence[str]) -> None:
        self._tensorflow = require("tensorflow", extra="tensorflow", purpose="a TensorFlow SavedModel")
        self._folder = folder
        self._described = _signatures(folder, tags)
        try:
            self._loaded = self._tensorflow.saved_model.load(str(folder), tags=list(tags))
        except Exception as error:
            raise DataError(f"the SavedModel in {folder} cannot be loaded: {error}") from error
        self.names = sorted(self._described)

    def signature(self, name: str) -> Signature:
        """What a signature takes and gives; NotFoundError where it has no such signature."""
        if name not in self._described:
            raise NotFoundError("signature", name, self.names, where=str(self._folder))
        found = self._described[name]
        return Signature(_specs(found.inputs, name), _specs(found.outputs, name), found.method_name)

    def call(self, name: str) -> Call:
        """A function from named arrays to named arrays; RequestError for what the graph refuses."""
        tensorflow, function = self._tensorflow, self._loaded.signatures[name]
        specs = function.structured_input_signature[1]
        names = [one for one in function._arg_keywords if one in specs]
        types = [specs[one].dtype for one in names]
        captured = list(function.captured_inputs)
        # The public call binds arguments and watches tapes in Python: as long again as a small graph takes.
        inner = getattr(function, "_inference_function", None)
        refused, constant = tensorflow.errors.OpError, tensorflow.constant

        def called(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                given = [constant(inputs[one], type_) for one, type_ in zip(names, types, strict=True)]
                if inner is None:
                    found = function(**dict(zip(names, given, strict=True)))
                else:
                    found = inner.call_preflattened([*given, *captured])
                return {one: _array(tensor) for one, tensor in found.items()}
            except refused as error:
                raise RequestError(str(error.message)) from error

        # The variables belong to the loaded object, and go with it.
        called.owner = self._loaded  # type: ignore[attr-defined]
        return called


def _array(tensor: Any) -> Array:
    found = tensor.numpy()
    if isinstance(found, np.ndarray):
        return found
    return np.array(found, object if isinstance(found, bytes) else None)


def _signatures(folder: Path, tags: Sequence[str]) -> dict[str, Any]:
    """The SignatureDefs of the graph that has exactly these tags."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / TensorFlowServable.FILE
    try:
        parsed = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except Exception as error:
        raise DataError(f"{path} is not a SavedModel: {error}") from error
    graphs = {frozenset(graph.meta_info_def.tags): graph for graph in parsed.meta_graphs}
    if frozenset(tags) not in graphs:
        found = "; ".join(",".join(sorted(one)) for one in graphs)
        raise DataError(f"{path} has no graph with the tags {','.join(tags)}", hint=f"It has: {found}.")
    return {name: found for name, found in graphs[frozenset(tags)].signature_def.items() if name != _INIT}


def _specs(tensors: Any, signature: str) -> tuple[TensorSpec, ...]:
    from tensorflow import dtypes

    def spec(name: str) -> TensorSpec:
        info = tensors[name]
        shape = info.tensor_shape
        dtype = dtypes.as_dtype(info.dtype).name
        dtype = "bytes" if dtype == "string" else dtype
        if dtype not in NUMPY_TYPES:
            raise DataError(f"'{name}' of the signature '{signature}' has the type {dtype}, which cannot be served")
        sizes = None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
        return TensorSpec(name, dtype, sizes, info.name)

    return tuple(map(spec, sorted(tensors)))


def _feed(folder: Path, own: Signature, signature: Signature) -> Callable[[Tensors], Tensors]:
    """What a SavedModel is fed of the tensors of a signature: each by its name, or all as one matrix."""
    names = {spec.name for spec in own.inputs}
    if names == {spec.name for spec in signature.inputs} and not (folder / TRANSFORMS).exists():
        return partial(fed, specs=signature.inputs)
    if len(names) != 1:
        raise DataError(
            f"the SavedModel in {folder} takes {', '.join(sorted(names))}, which the signature does not name"
        )
    matrix, (name,) = Matrix(folder, signature), names
    return lambda inputs: {name: matrix(inputs)}


def _renamed(own: Sequence[TensorSpec], wanted: Sequence[TensorSpec], folder: Path) -> dict[str, str]:
    """The SavedModel's name of each output: the same one, or the only one, whatever it is called."""
    names = [spec.name for spec in own]
    if len(names) == len(wanted) == 1:
        return {wanted[0].name: names[0]}
    for spec in wanted:
        if spec.name not in names:
            raise NotFoundError("output", spec.name, names, where=f"the SavedModel in {folder}")
    return {spec.name: spec.name for spec in wanted}
