"""Evidence: all that gates may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carrara.evaluation.counterfactual import Swap
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.metrics import MetricValue
from carrara.evaluation.paired import PairedDifference
from carrara.evaluation.trial import Trial

Champion = Mapping[str, Mapping[str, Any]]
"""The champion's test metrics, as in its record: name → {"value": …}."""

Folds = Sequence[Mapping[str, MetricValue]]
"""The metrics of a model that was trained at past moments, each on what came next, oldest first."""


@dataclass(frozen=True)
class FeatureSeen:
    """A feature as a training set has it: the share of rows without it by part, and whether all others are the same."""

    name: str
    missing: Mapping[str, float]
    constant: bool


@dataclass(frozen=True)
class Evidence:
    """`champion` is None when no version is champion yet; `paired` and `paired_slices` are the differences to it on
    the same rows, and `paired_flips` how many of its answers are others, None where it could not be asked; `trial`,
    `anomalies`, `flips`, how many answers turn by a swap, and `features` are None where nobody looked. `backtests` are
    by how many moments, and how far apart, or say why there is none."""

    evaluation: Evaluation
    champion: Champion | None = None
    paired: Mapping[str, PairedDifference] | None = None
    trial: Trial | None = None
    anomalies: Sequence[str] | None = None
    paired_slices: Mapping[str, Mapping[str, PairedDifference]] | None = None
    flips: Mapping[Swap, Mapping[str, MetricValue]] | None = None
    paired_flips: Mapping[str, MetricValue] | None = None
    features: Sequence[FeatureSeen] | None = None
    backtests: Mapping[tuple[int, str], Folds | str] | None = None
