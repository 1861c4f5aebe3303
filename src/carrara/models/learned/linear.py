"""The coefficients of a linear model, and what they make of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from carrara.models.learned.forest import Array, Floats


@dataclass(frozen=True)
class LinearModel:
    """A margin is `intercepts` and the columns times their `coefficients`, of shape (outputs, columns)."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    coefficients: Floats
    intercepts: Floats

    def margins(self, rows: Array) -> Floats:
        """Of shape (rows, outputs); `rows` have shape (rows, columns)."""
        return np.asarray(rows.astype(np.float64) @ self.coefficients.T + self.intercepts)

    def as_dict(self) -> dict[str, Any]:
        """The columns by falling size of their coefficients."""
        order = np.argsort(-np.abs(self.coefficients).max(axis=0), kind="stable")
        named = [{"column": self.columns[n], "coefficients": self.coefficients[:, n].tolist()} for n in order]
        return {
            "kind": "linear",
            "classes": list(self.classes),
            "intercepts": self.intercepts.tolist(),
            "coefficients": named,
        }


def read_linear(learned: Mapping[str, bytes]) -> LinearModel | None:
    """The linear model among the learned files of a version, None where there is none."""
    if not learned.get("learned.json", b"").startswith(b'{"features"'):
        return None
    found = msgspec.json.decode(learned["learned.json"])
    return LinearModel(
        tuple(found["features"]),
        tuple(found["classes"]),
        np.array(found["coefficients"], np.float64),
        np.array(found["intercepts"], np.float64),
    )
