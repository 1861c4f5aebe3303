"""The proof of an export: the artifact's predictions beside those of the trainer's own object, on real rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.evaluation.metrics import Kind
from carrara.models.runtimes.onnx import session
from carrara.training.trainers.base import FEATURES, OUTPUTS, Array, Fitted

TOLERANCE = 1e-5
_MOST_ROWS = 20_000


def exported(fitted: Fitted, kind: Kind, rows: Array) -> tuple[bytes | None, dict[str, Any]]:
    """The ONNX graph of what was fitted where it is equal, else None; and what was compared.

    Probabilities may differ by 1e-5, numbers by 1e-5 of their size. Beside `rows` the model's edges are compared,
    where a converter that rounds a threshold shows. Raises TrainingError where there is neither an equal graph nor a
    native form.
    """
    compared = rows[:_MOST_ROWS]
    if fitted.edges is not None and len(fitted.edges):
        compared = np.concatenate([compared, fitted.edges[:_MOST_ROWS].astype(np.float32)])
    try:
        graph = fitted.to_onnx()
        (found,) = session(graph).run([OUTPUTS[kind]], {FEATURES: compared})
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        proof = {"to": "onnx", "equal": False, "rows": len(compared), "reason": said, "tolerance": TOLERANCE}
        return _native(fitted, proof)
    expected = np.asarray(fitted.predict(compared), np.float64)
    scale = np.maximum(1.0, np.abs(expected)) if kind in ("regression", "clustering") else 1.0
    differences = np.abs(expected - found.reshape(expected.shape)) / scale
    largest = float(differences.max()) if differences.size else 0.0
    proof = {
        "to": "onnx",
        "equal": bool(largest <= TOLERANCE),
        "rows": len(compared),
        "largest_difference": largest,
        "differing_rows": int((differences.reshape(len(compared), -1).max(axis=1, initial=0) > TOLERANCE).sum()),
        "tolerance": TOLERANCE,
    }
    return (graph, proof) if proof["equal"] else _native(fitted, proof)


def said(proof: dict[str, Any]) -> str:
    """The proof in words."""
    if proof["equal"]:
        return f"ONNX equal to the trainer on {proof['rows']:,} rows"
    if "reason" in proof:
        return f"kept native: {proof['reason']}"
    return f"kept native: ONNX differs on {proof['differing_rows']:,} rows, by up to {proof['largest_difference']:.2g}"


def _native(fitted: Fitted, proof: dict[str, Any]) -> tuple[None, dict[str, Any]]:
    if not fitted.native:
        why = proof.get("reason") or f"it differs by up to {proof['largest_difference']:.2g}"
        raise TrainingError(
            f"the model has no equal form in ONNX ({why}), and no other form that is safe to keep",
            hint="Choose an estimator that converts, or another trainer.",
        )
    return None, proof
