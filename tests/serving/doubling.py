"""A small real predictor for the tests of serving: it doubles a column, and counts what it is asked."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from carrara.core.errors import RequestError
from carrara.models.signature import Signature, TensorSpec
from carrara.serving.contract import Choice, Endpoint, Prediction, Target

SIGNATURE = Signature(
    inputs=(TensorSpec("x", "float32"), TensorSpec("name", "string")),
    outputs=(TensorSpec("doubled", "float32"), TensorSpec("name", "string")),
)


def endpoint(*versions: int, **labels: int) -> Endpoint:
    """The endpoint `doubling`, as it should serve these versions."""
    return Endpoint("doubling", tuple(Target("doubling", "doubling", version) for version in versions), labels)


NEWEST = Choice("doubling")


class Doubling:
    """Answers x * 2 * version; refuses negative numbers, so that a poison request can be made."""

    def __init__(self, version: int = 1, hold: threading.Event | None = None) -> None:
        self.model, self.version, self.file_bytes, self.most_rows = "doubling", version, 0, 0
        self.id, self.path = f"id-{version}", f"doubling/{version}"
        self.signatures = {"serving_default": SIGNATURE}
        self.runs: list[int] = []
        self.entered = threading.Event()
        self.closed = False
        self._hold = hold

    def signature_for(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> str:
        return "serving_default"

    def predict(self, inputs: Mapping[str, np.ndarray[Any, Any]], signature_name: str = "") -> Prediction:
        assert not self.closed, "asked after it was closed"
        rows = SIGNATURE.check(inputs, "doubling")
        self.entered.set()
        if self._hold is not None:
            assert self._hold.wait(20)
        if (inputs["x"] < 0).any():
            raise RequestError("x is negative", field="x")
        self.runs.append(rows)
        assert not self.closed, "closed while it was in use"
        outputs = {"doubled": inputs["x"] * 2 * self.version, "name": inputs["name"]}
        return Prediction(outputs, "serving_default", rows, record=rows)

    def warm_up(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True
