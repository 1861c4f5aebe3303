"""Where two models answer the same rows differently: how often, who is right then, and the rows where most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.jackknife import Method
from carrara.evaluation.losses import LOSS_OF, row_losses
from carrara.evaluation.metrics import Kind, MetricValue, measure

MOST_EXAMPLES = 10

FLIPS = ("flip_rate", "positive_to_negative", "negative_to_positive")
"""How often answers turn, and in which direction; shares of all rows."""


@dataclass(frozen=True)
class Disagreement:
    """Of a class: how many rows get another one, and who is right; of a number: how many are nearer.

    `farthest` are the places of the rows whose scores differ most, the farthest first.
    """

    rows: int
    other_answers: int
    only_one_right: int
    only_other_right: int
    mean_distance: float
    farthest: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "farthest": list(self.farthest)}


def disagreement(
    labels: npt.NDArray[Any],
    one: npt.NDArray[Any],
    other: npt.NDArray[Any],
    *,
    kind: Kind,
    thresholds: tuple[float, float] = (0.5, 0.5),
) -> Disagreement:
    """How two models' scores differ, in the shapes that `measure` takes; each decides by its own threshold.

    >>> disagreement(np.array([0, 1]), np.array([0.2, 0.4]), np.array([0.3, 0.9]), kind="binary").only_other_right
    1
    """
    distance = np.abs(np.asarray(other, np.float64) - one)
    distance = distance.max(axis=1) if distance.ndim == 2 else distance
    if kind in ("binary", "multilabel"):
        answers = [scores >= threshold for scores, threshold in zip((one, other), thresholds, strict=True)]
    elif kind == "multiclass":
        answers = [scores.argmax(axis=1) for scores in (one, other)]
    else:
        answers = [np.asarray(one), np.asarray(other)]
    differ = (answers[0] != answers[1]) if answers[0].ndim == 1 else (answers[0] != answers[1]).any(axis=1)
    right = _right(labels, (one, other), answers, kind)
    farthest = np.argsort(-distance, kind="stable")[:MOST_EXAMPLES]
    return Disagreement(
        rows=len(labels),
        other_answers=int(differ.sum()),
        only_one_right=int((right[0] & ~right[1]).sum()),
        only_other_right=int((right[1] & ~right[0]).sum()),
        mean_distance=float(distance.mean()) if len(distance) else 0.0,
        farthest=tuple(int(place) for place in farthest if distance[place] > 0),
    )


def flips_between(
    one: npt.NDArray[Any],
    other: npt.NDArray[Any],
    *,
    thresholds: tuple[float, float],
    weights: npt.NDArray[Any] | None = None,
    seed: int = 0,
    intervals: Method = "bootstrap",
) -> dict[str, MetricValue]:
    """How often a binary model's answer is not another's, each at its own threshold, with intervals.

    >>> found = flips_between(np.array([0.2, 0.6]), np.array([0.7, 0.6]), thresholds=(0.5, 0.5))
    >>> found["flip_rate"].value, found["negative_to_positive"].value
    (0.5, 0.5)
    """
    before, after = ((scores >= cut).astype(np.float64) for scores, cut in zip((one, other), thresholds, strict=True))
    return measure(before, after, FLIPS, kind="flips", weights=weights, seed=seed, intervals=intervals)


def _right(
    labels: npt.NDArray[Any], scores: tuple[npt.NDArray[Any], ...], answers: list[npt.NDArray[Any]], kind: Kind
) -> list[npt.NDArray[np.bool_]]:
    if kind in ("binary", "multiclass"):
        return [answer == labels for answer in answers]
    if kind == "multilabel":
        return [(answer == labels).all(axis=1) for answer in answers]
    if kind not in LOSS_OF:
        return [np.zeros(len(labels), bool) for _ in answers]
    losses = [row_losses(labels, one, kind) for one in scores]
    return [losses[0] < losses[1], losses[1] < losses[0]]
