"""Mistakes: of each sort some rows that a model gets wrong, drawn at random, and those that it gets most wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.metrics import Kind
from carrara.evaluation.weighing import Floats

MOST_ROWS = 10
"""Of a sort, how many rows are drawn, and how many of the worst are named."""

_MOST_SORTS = 6


@dataclass(frozen=True)
class Mistakes:
    """A sort of mistake: `count` rows, a `share` of all; `drawn` are places of some of them, each as likely, and
    `worst` of those farthest from right, the farthest first."""

    sort: str
    count: int
    share: float
    drawn: tuple[int, ...]
    worst: tuple[int, ...]


def mistakes(
    labels: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    *,
    kind: Kind,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
    seed: int = 0,
    most: int = MOST_ROWS,
) -> list[Mistakes]:
    """The mistakes of scores, in the shapes that `measure` takes: false positives and false negatives, of several
    classes or labels the six most frequent sorts, of numbers those too high and too low; none of other kinds.

    >>> [(one.sort, one.worst) for one in mistakes(np.array([0, 0, 1]), np.array([0.6, 0.9, 0.2]), kind="binary")]
    [('false positive', (1, 0)), ('false negative', (2,))]
    """
    found = []
    for sort, places, wrong in _SORTS[kind](labels, scores, threshold, classes) if kind in _SORTS else ():
        drawn = np.random.default_rng(seed).permutation(len(places))[:most]
        worst = np.argsort(-wrong, kind="stable")[:most]
        found.append(
            Mistakes(
                sort=sort,
                count=len(places),
                share=len(places) / len(labels),
                drawn=tuple(sorted(places[drawn].tolist())),
                worst=tuple(places[worst].tolist()),
            )
        )
    return found


_Sort = tuple[str, npt.NDArray[np.intp], Floats]
"""A sort's name, the places of its rows, and how far each is from right."""


def _of_binary(labels: Any, scores: Any, threshold: float, classes: Sequence[str]) -> Iterator[_Sort]:
    positive, true = scores >= threshold, labels == 1
    for sort, wrong, sign in (("false positive", positive & ~true, 1), ("false negative", ~positive & true, -1)):
        places = np.flatnonzero(wrong)
        yield sort, places, sign * scores[places]


def _of_labels(labels: Any, scores: Any, threshold: float, classes: Sequence[str]) -> Iterator[_Sort]:
    each = (
        (f"{name}: {sort}", places, wrong)
        for number, name in enumerate(classes)
        for sort, places, wrong in _of_binary(labels[:, number], scores[:, number], threshold, ())
    )
    yield from sorted((one for one in each if len(one[1])), key=lambda one: -len(one[1]))[:_MOST_SORTS]


def _of_classes(labels: Any, scores: Any, threshold: float, classes: Sequence[str]) -> Iterator[_Sort]:
    predicted, true = scores.argmax(axis=1), np.asarray(labels, np.int64)
    wrong = np.flatnonzero(predicted != true)
    pairs = true[wrong] * scores.shape[1] + predicted[wrong]
    for pair in np.argsort(-np.bincount(pairs), kind="stable")[:_MOST_SORTS].tolist() if len(wrong) else ():
        places = wrong[pairs == pair]
        if len(places):
            right, taken = divmod(pair, scores.shape[1])
            yield f"{classes[right]} taken for {classes[taken]}", places, scores[places, taken] - scores[places, right]


def _of_numbers(labels: Any, scores: Any, threshold: float, classes: Sequence[str]) -> Iterator[_Sort]:
    errors = scores - labels
    for sort, sign in (("too high", 1), ("too low", -1)):
        places = np.flatnonzero(sign * errors > 0)
        yield sort, places, np.abs(errors[places])


_SORTS = {"binary": _of_binary, "multilabel": _of_labels, "multiclass": _of_classes, "regression": _of_numbers}
