"""Your own Python as a model, in a process of its own, and only where the server is told that it may run it."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from carrara.core.errors import DataError, RequestError, UnavailableError
from carrara.models.runtimes import python_worker
from carrara.models.runtimes.base import Servable, Tensors
from carrara.models.runtimes.onnx import zeros
from carrara.models.signature import DEFAULT_SIGNATURE, NUMPY_TYPES, Signature, TensorSpec

Array = np.ndarray[Any, Any]

_STDERR = 2
_START_SECONDS = 60.0
_ANSWER_SECONDS = 60.0


class PythonServable:
    """A folder with `model.py`, whose class `Model` takes the folder, says its `inputs` and `outputs`
    (`{"x": ("float32", [None])}`), and answers `predict(x=…)` with a dictionary of arrays.

    It runs in the Python of the folder's own `.venv`, if there is one: two models may need different libraries. Where
    its process dies the request that it had fails, and the next one starts it again.
    """

    FILE = "model.py"
    RUNS_CODE = True

    def __init__(self, folder: Path, signature: Signature | None = None) -> None:
        # It reads its files whenever it starts, and a runtime must not need the folder once it is open.
        self._copy = tempfile.TemporaryDirectory(prefix="carrara-python-")
        self._folder, self._lock = Path(self._copy.name), threading.Lock()
        shutil.copytree(folder, self._folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        own = folder.resolve() / ".venv" / "bin" / "python"
        self._python = str(own) if own.exists() else sys.executable
        self._process: _Process | None = _Process(self._folder, self._python)
        described = self._process.described
        self.signature = signature or Signature(_specs(described, "inputs"), _specs(described, "outputs"))

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = ()) -> dict[str, Servable]:
        """The model, by the signature that its class says."""
        return {DEFAULT_SIGNATURE: PythonServable(folder)}

    def run(self, inputs: Tensors) -> dict[str, Array]:
        with self._lock:
            if self._process is None or not self._process.lives:
                self._process = _Process(self._folder, self._python)
            return self._process.ask(inputs)

    def warm_up(self) -> None:
        self.run(zeros(self.signature))

    def close(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.end()
            self._process = None
        self._copy.cleanup()


class _Process:
    """A running worker; `described` is what its model says of its tensors."""

    def __init__(self, folder: Path, python: str) -> None:
        theirs, ours = os.pipe(), os.pipe()
        command = [python, python_worker.__file__, str(folder)]
        # Standard output is the user's to print on; it must not be mistaken for an answer.
        self._worker = subprocess.Popen(
            [*command, str(theirs[0]), str(ours[1])],
            pass_fds=(theirs[0], ours[1]),
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._requests, self._replies = os.fdopen(theirs[1], "wb"), os.fdopen(ours[0], "rb", buffering=0)
        self.lives = True
        self.described, _ = self._read(_START_SECONDS)
        if "error" in self.described:
            self.end()
            raise DataError(f"{PythonServable.FILE} cannot be used: {self.described['error']}")

    def ask(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        described, raw = python_worker.pack(inputs)
        try:
            python_worker.write(self._requests, described, raw)
            found, data = self._read(_ANSWER_SECONDS)
        except OSError as error:
            self.end()
            raise UnavailableError("the model's process has died; it is started again") from error
        if "error" in found:
            raise RequestError(f"the model refuses these inputs: {found['error']}")
        return python_worker.unpack(found["outputs"], data)

    def _read(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        lengths = self._exactly(python_worker.LENGTHS.size, seconds)
        head, raw = python_worker.LENGTHS.unpack(lengths)
        return msgspec.json.decode(self._exactly(head, seconds)), self._exactly(raw, seconds)

    def _exactly(self, count: int, seconds: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            ready, _, _ = select.select([self._replies], [], [], seconds)
            data = self._replies.read(count - len(found)) if ready else b""
            if not data:
                self.end()
                raise UnavailableError("the model's process has died, or does not answer; it is started again")
            found += data
        return bytes(found)

    def end(self) -> None:
        self.lives = False
        self._worker.kill()
        self._worker.wait()
        for stream in (self._requests, self._replies):
            with suppress(OSError):
                stream.close()


def _specs(described: Mapping[str, Any], side: str) -> tuple[TensorSpec, ...]:
    try:
        specs = [TensorSpec(name, dtype, tuple(shape)) for name, (dtype, shape) in described[side].items()]
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"the model's {side} are not names with a type and a shape: {error}") from error
    for spec in specs:
        if spec.dtype not in NUMPY_TYPES or spec.dtype == "datetime":
            raise DataError(f"the model's '{spec.name}' has the unknown type '{spec.dtype}'")
    return tuple(specs)
