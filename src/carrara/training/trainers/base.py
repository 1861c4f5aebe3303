"""The protocol of a trainer.

To add one: a frozen dataclass of hyper-parameters with these members, in a file of its own, named in the
entry-point group `carrara.trainers`. Import the library inside `fit`, with `core.plugins.require`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Part:
    """One part of a training set: `features` float32 of shape (rows, features), `labels` float32 of 0 and 1."""

    features: Array
    labels: Array


@dataclass(frozen=True)
class Fitted:
    """What a trainer gives back.

    `format` names the runtime that opens `files`; `learned` holds the full learned parameters in a form that
    needs no framework; `importance` is each feature's share (sum 1); `curve` the loss of each round; `export`
    says how the artifact was proved equal to the trainer's own object; `libraries` what made it.
    """

    format: str
    files: Mapping[str, bytes]
    learned: Mapping[str, bytes]
    importance: Mapping[str, float]
    curve: Mapping[str, list[float]]
    summary: Mapping[str, Any]
    export: Mapping[str, Any]
    libraries: tuple[str, ...]


class Trainer(Protocol):
    """Hyper-parameters that can be fitted."""

    @property
    def name(self) -> str: ...

    def spec(self) -> dict[str, Any]:
        """The hyper-parameters as plain data."""

    def fit(
        self,
        train: Part,
        validation: Part,
        names: tuple[str, ...],
        *,
        seed: int,
        advance: Callable[[int, int], None],
    ) -> Fitted:
        """Fit on `train`, stop by `validation`, and export; `advance(done, total)` tells how far it is."""
