"""The proof of an export: the artifact's predictions beside those of the trainer's own object, on real rows."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import TrainingError
from carrara.evaluation.metrics import Kind
from carrara.models.runtimes.base import Servable, open_folder, open_servable
from carrara.models.runtimes.onnx import session
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Fitted

TOLERANCE = 1e-5
_MOST_ROWS = 20_000


@dataclass(frozen=True)
class Exported:
    """What is kept of a fitted model: the `files` of the runtime called `format`, and what was compared."""

    format: str
    files: Mapping[str, bytes]
    proof: dict[str, Any]

    @property
    def graph(self) -> bytes | None:
        """The ONNX graph, None where the native form is kept."""
        return self.files["model.onnx"] if self.format == "onnx" else None


def exported(fitted: Fitted, kind: Kind, rows: Array) -> Exported:
    """The ONNX graph of what was fitted where it is equal, else its native form where that is.

    Probabilities may differ by 1e-5, numbers by 1e-5 of their size. Beside `rows` the model's edges are compared,
    where a converter that rounds a threshold shows. Raises TrainingError where neither is equal.
    """
    compared = rows[:_MOST_ROWS]
    if fitted.edges is not None and len(fitted.edges):
        compared = np.concatenate([compared, fitted.edges[:_MOST_ROWS].astype(np.float32)])
    expected = np.asarray(fitted.predict(compared), np.float64)
    try:
        graph = fitted.to_onnx()
        (found,) = session(graph).run([OUTPUTS[kind]], {FEATURES: compared})
    except Exception as error:
        return _native(fitted, kind, compared, expected, {"to": "onnx", "equal": False, "reason": _told(error)})
    proof = {"to": "onnx", **_compared(kind, expected, found)}
    return (
        Exported("onnx", {"model.onnx": graph}, proof)
        if proof["equal"]
        else (_native(fitted, kind, compared, expected, proof))
    )


def proved_whole(
    fitted: Fitted, kind: Kind, files: Mapping[str, bytes], signature: Signature, rows: pl.DataFrame, matrix: Array
) -> Exported:
    """A form that takes the inputs themselves, beside the trainer's answers to the matrix that was made of them.

    `rows` are the first of `matrix` as they came. Raises TrainingError where they differ.
    """
    compared = rows[:_MOST_ROWS]
    expected = np.asarray(fitted.predict(matrix[: compared.height]), np.float64)
    with _opened(files, lambda folder: open_servable(fitted.format, folder, signature)) as servable:
        found = servable.run(signature.tensors(compared))[OUTPUTS[kind]]
    proof = {"to": fitted.format, **_compared(kind, expected, np.asarray(found, np.float64))}
    if not proof["equal"]:
        raise TrainingError(
            f"the form for the runtime '{fitted.format}' differs from the trainer on {proof['differing_rows']:,} rows,"
            f" by up to {proof['largest_difference']:.2g}",
            hint='What would be served would not be what was trained: export="onnx".',
        )
    return Exported(fitted.format, dict(files), proof)


def said(proof: dict[str, Any]) -> str:
    """The proof in words."""
    if proof["equal"]:
        name = {"onnx": "ONNX", "tensorflow": "SavedModel"}[proof["to"]]
        return f"{name} equal to the trainer on {proof['rows']:,} rows"
    kept = f"kept as {proof['kept']}" if "kept" in proof else "kept native"
    if "reason" in proof:
        return f"{kept}: {proof['reason']}"
    return f"{kept}: ONNX differs on {proof['differing_rows']:,} rows, by up to {proof['largest_difference']:.2g}"


def _compared(kind: Kind, expected: Array, found: Array) -> dict[str, Any]:
    scale = np.maximum(1.0, np.abs(expected)) if kind in ("regression", "ranking", "clustering") else 1.0
    differences = np.abs(expected - np.asarray(found).reshape(expected.shape)) / scale
    # A NaN on one side only is a difference like any other.
    one_side = np.isnan(expected) != np.isnan(np.asarray(found).reshape(expected.shape))
    differences = np.where(one_side, np.inf, np.nan_to_num(differences, nan=0.0, posinf=np.inf))
    largest = float(differences.max()) if differences.size else 0.0
    return {
        "equal": bool(largest <= TOLERANCE),
        "rows": len(expected),
        "largest_difference": largest,
        "differing_rows": int((differences.reshape(len(expected), -1).max(axis=1, initial=0) > TOLERANCE).sum()),
        "tolerance": TOLERANCE,
    }


def _native(fitted: Fitted, kind: Kind, rows: Array, expected: Array, proof: dict[str, Any]) -> Exported:
    """The native form, opened as a server opens it and asked the same rows."""
    why = proof.get("reason") or f"it differs by up to {proof['largest_difference']:.2g}"
    files = dict(fitted.native) if fitted.to_native is None else _made(fitted.to_native, why)
    if not files:
        raise TrainingError(
            f"the model has no equal form in ONNX ({why}), and no other form that is safe to keep",
            hint="Choose an estimator that converts, or another trainer.",
        )
    beside = _compared(kind, expected, _asked(files, rows))
    if not beside["equal"]:
        raise TrainingError(
            f"the model has no equal form in ONNX ({why}), and its form for the runtime '{fitted.format}' differs"
            f" from the trainer by up to {beside['largest_difference']:.2g}",
            hint="What would be served would not be what was trained: leave out what is random in it.",
        )
    told = {"rows": len(rows), "tolerance": TOLERANCE, **proof, "kept": fitted.format, "native": beside}
    return Exported(fitted.format, files, told)


def _made(to_native: Callable[[], Mapping[str, bytes]], why: str) -> dict[str, bytes]:
    try:
        return dict(to_native())
    except Exception as error:
        raise TrainingError(
            f"the model has no equal form in ONNX ({why}), nor a native one ({_told(error)})",
            hint="Leave out of it what neither can express.",
        ) from error


def _told(error: Exception) -> str:
    """An error in one line, without the colours that some libraries put in."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return f"{type(error).__name__}: {plain.partition(chr(10))[0]}"


def _asked(files: Mapping[str, bytes], rows: Array) -> Array:
    with _opened(files, lambda folder: open_folder(folder)[DEFAULT_SIGNATURE]) as servable:
        signature = servable.signature
        found = servable.run({signature.inputs[0].name: rows})
        return np.asarray(found[signature.outputs[0].name], np.float64)


@contextmanager
def _opened(files: Mapping[str, bytes], opened: Callable[[Path], Servable]) -> Iterator[Servable]:
    """What a server opens of files in a folder, for as long as it is asked."""
    with tempfile.TemporaryDirectory(prefix="native-") as folder:
        for name, data in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        servable = opened(Path(folder))
        try:
            yield servable
        finally:
            servable.close()
