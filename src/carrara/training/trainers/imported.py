"""What was trained elsewhere: it has parameters and a record, and cannot be trained here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from carrara.core.errors import CarraraError, TrainingError
from carrara.training.trainers.base import Part, Task, Trainer


@dataclass(frozen=True)
class Imported:
    """A model of another system: `origin` names that, `flavor` its kind there, and `parameters` what it was trained
    with.

    >>> Imported("mlflow", "xgboost", {"max_depth": 2}).spec()
    {'origin': 'mlflow', 'flavor': 'xgboost', 'max_depth': 2}
    """

    origin: str
    flavor: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    name = "imported"

    def spec(self) -> dict[str, Any]:
        return {"origin": self.origin, "flavor": self.flavor, **self.parameters}

    def fit(self, train: Part, validation: Part, task: Task) -> NoReturn:
        raise TrainingError(
            f"this model was trained elsewhere, with {self.flavor}, and imported from {self.origin}",
            hint="Declare a model with a trainer of your own to train it here.",
        )


def refuse_imported(trainer: Trainer, version: str, what: str) -> None:
    """Raise CarraraError for a version that was trained elsewhere: what it has learned from is not known here."""
    if isinstance(trainer, Imported):
        raise CarraraError(
            f"{version} was trained elsewhere and imported, and cannot {what}",
            hint="Its training data and its code are not known here.",
        )
