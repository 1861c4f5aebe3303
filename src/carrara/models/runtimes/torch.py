"""PyTorch's runtime: programs of `torch.export`, opened only where nothing in them can run code."""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.errors import DataError, RequestError
from carrara.core.plugins import require
from carrara.models.runtimes.base import Servable, Tensors
from carrara.models.runtimes.onnx import Matrix, zeros
from carrara.models.signature import DEFAULT_SIGNATURE, NUMPY_TYPES, Signature, TensorSpec

Array = np.ndarray[Any, Any]

_SIZES = {
    *("Symbol", "Integer", "Rational", "Float", "positive", "integer", "nonnegative", "nonzero", "True", "False"),
    *("Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod", "Abs", "FloorDiv", "CeilDiv", "IntTrueDiv", "CleanDiv"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Piecewise", "ModularIndexing", "int_oo", "oo"),
}
"""What the sizes of a program are expressed by."""

_SAFE_NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.Tuple),
    *(ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


class TorchServable:
    """A folder with `model.pt2`: its inputs by the names of the module's arguments, its outputs by their keys, or as
    `output` or `output_0`, `output_1`, ..."""

    FILE = "model.pt2"

    def __init__(self, folder: Path, signature: Signature, program: Any = None) -> None:
        self._torch = require("torch", extra="torch", purpose="a program of torch.export")
        program = program or _program(self._torch, folder / self.FILE)
        self.signature = signature
        self._own = _signature(program)
        self._module: Any = program.module()
        self._in_spec = program.call_spec.in_spec
        named = {spec.name for spec in self._own.inputs} <= {spec.name for spec in signature.inputs}
        self._matrix = None if named else Matrix(folder, signature)

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = ()) -> dict[str, Servable]:
        """The program, by the names that it has itself."""
        torch = require("torch", extra="torch", purpose="a program of torch.export")
        program = _program(torch, folder / TorchServable.FILE)
        return {DEFAULT_SIGNATURE: TorchServable(folder, _signature(program), program)}

    def run(self, inputs: Tensors) -> dict[str, Array]:
        torch = self._torch
        if self._matrix is None:
            given = [self._tensor(inputs[spec.name], spec.dtype) for spec in self._own.inputs]
        else:
            given = [self._tensor(self._matrix(inputs), "float32")]
        arguments, keywords = torch.utils._pytree.tree_unflatten(given, self._in_spec)
        try:
            with torch.inference_mode():
                found = self._module(*arguments, **keywords)
        except (RuntimeError, AssertionError, ValueError) as error:
            # A size that the program was not exported for, most often.
            raise RequestError(f"the program refuses these inputs: {str(error).splitlines()[0]}") from error
        named = [self._array(tensor) for _, tensor in _leaves(found)]
        return {
            spec.name: array.reshape(-1) if spec.shape == (None,) else array
            for spec, array in zip(self.signature.outputs, named, strict=True)
        }

    def warm_up(self) -> None:
        self.run(zeros(self.signature))

    def close(self) -> None:
        self._module = None

    def _tensor(self, values: Any, dtype: str) -> Any:
        array = np.array(values, NUMPY_TYPES[dtype])
        if dtype == "bfloat16":
            return self._torch.from_numpy(array.view(np.int16)).view(self._torch.bfloat16)
        return self._torch.from_numpy(array)

    def _array(self, tensor: Any) -> Array:
        if tensor.dtype == self._torch.bfloat16:
            array: Array = tensor.contiguous().view(self._torch.int16).numpy()
            return array.view(NUMPY_TYPES["bfloat16"])
        found: Array = tensor.contiguous().numpy()
        return found


def _program(torch: Any, path: Path) -> Any:
    data = path.read_bytes()
    try:
        check_archive(data, torch)
        return torch.export.load(io.BytesIO(data))
    except DataError as error:
        raise DataError(f"{path} is not opened: {error.message}", hint=error.hint) from error
    except Exception as error:
        raise DataError(f"{path} is no program of torch.export: {error}") from error


def check_archive(data: bytes, torch: Any) -> None:
    """DataError where opening an archive could run code.

    `torch.export.load` unpickles whatever says that it is pickled, unpickles without limits what it cannot with them,
    and evaluates the expressions of sizes (torch 2.13).
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                _check_json(json.loads(archive.read(name)), name)
            elif "/sample_inputs/" in name or name.endswith((".pt", ".pkl")):
                _check_pickle(archive.read(name), name, torch)


def _check_json(value: Any, name: str) -> None:
    if isinstance(value, list):
        for one in value:
            _check_json(one, name)
    elif isinstance(value, dict):
        if value.get("use_pickle") is True:
            raise DataError(f"{name} says that a part of it is pickled", hint="Export it with tensors alone.")
        for key, one in value.items():
            if "expr" in key and isinstance(one, str) and not is_size(one):
                raise DataError(f"{name} has the size '{one[:40]}', which is no expression of sizes")
            _check_json(one, name)


def is_size(text: str) -> bool:
    """Whether a text is an expression of sizes and of nothing else.

    >>> is_size("Mul(Integer(2), Symbol('s31', positive=True, integer=True))"), is_size("S('print(1)')")
    (True, False)
    """
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError):
        return False
    calls = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return all(
        isinstance(node, _SAFE_NODES)
        and (not isinstance(node, ast.Name) or node.id in _SIZES or (_is_symbol(node.id) and id(node) not in calls))
        and (not isinstance(node, ast.Constant) or not isinstance(node.value, str) or _is_symbol(node.value))
        for node in nodes
    )


def _is_symbol(text: str) -> bool:
    return re.fullmatch(r"[a-z]{1,3}\d+", text) is not None


def _check_pickle(data: bytes, name: str, torch: Any) -> None:
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:
        raise DataError(f"{name} in it holds more than tensors", hint="Export it with tensors alone.") from error


def _signature(program: Any) -> Signature:
    """What a program says of its tensors."""
    placeholders = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = tuple(_spec(name, placeholders[name]) for name in program.graph_signature.user_inputs)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    from torch.utils import _pytree

    names = program.graph_signature.user_outputs
    outputs = _pytree.tree_unflatten([values[name] for name in names], program.call_spec.out_spec)
    return Signature(inputs, tuple(_spec(name, value) for name, value in _leaves(outputs)))


def _leaves(found: Any) -> list[tuple[str, Any]]:
    """The tensors of an answer, each with a name."""
    if isinstance(found, dict):
        return [(str(key), value) for key, value in found.items()]
    if isinstance(found, tuple | list):
        return [(f"output_{place}", value) for place, value in enumerate(found)]
    return [("output", found)]


def _spec(name: str, value: Any) -> TensorSpec:
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    if dtype not in NUMPY_TYPES:
        raise DataError(f"'{name}' of the program is {dtype or type(value).__name__}, which cannot be served")
    shape = tuple(size if type(size) is int else None for size in value.shape)
    return TensorSpec(name, dtype, shape)
