"""What a user declares of a model: features, label, split, trainer, how it is judged, when it may go live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrara.core.errors import DefinitionError
from carrara.data.splits import Split
from carrara.evaluation import Gate
from carrara.evaluation.metrics import metric
from carrara.training.trainers.base import Trainer


@dataclass(frozen=True)
class Label:
    """What is to be predicted: a boolean column of a dataset.

    `time` is the moment at which each row is predicted, `known_at` the one at which its label became known;
    `known_at` is also what joins outcomes to logged predictions.
    """

    dataset: str
    column: str
    time: str
    known_at: str | None = None

    def spec(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Model:
    """A model: everything that training, evaluation, serving and monitoring need to know of it.

    `features` are references (`view:feature`, or `view` for all of a view's), `slices` columns of the label's
    dataset to judge separately, `baseline` columns whose positive rates are what the model has to beat.
    """

    name: str
    features: tuple[str, ...]
    label: Label
    split: Split
    trainer: Trainer
    metrics: tuple[str, ...] = ("roc_auc", "pr_auc", "log_loss", "brier")
    slices: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    threshold: float = 0.5
    seed: int = 0
    description: str = ""
    owner: str = ""

    kind = "model"

    def __post_init__(self) -> None:
        if not self.features:
            raise DefinitionError(f"model '{self.name}' has no features")
        if not self.label.time:
            raise DefinitionError(
                f"the label of model '{self.name}' names no time",
                hint='Say when each row is predicted: Label(…, time="COLUMN").',
            )
        for name in self.metrics:
            metric(name)

    def spec(self) -> dict[str, Any]:
        return {
            "features": list(self.features),
            "label": self.label.spec(),
            "split": self.split.spec(),
            "trainer": {"name": self.trainer.name, **self.trainer.spec()},
            "metrics": list(self.metrics),
            "slices": list(self.slices),
            "baseline": list(self.baseline),
            "gates": [gate.spec() for gate in self.gates],
            "threshold": self.threshold,
            "seed": self.seed,
            "description": self.description,
            "owner": self.owner,
        }
