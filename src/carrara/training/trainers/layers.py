"""Which layers of an earlier version a net takes over, and which of them stay as they are."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import numpy as np

from carrara.core.errors import NotFoundError, TrainingError
from carrara.models.learned.net import NAMES, SHAPE
from carrara.training.trainers.base import Array, Task, started
from carrara.training.trainers.shape import Shape

_SAME = "Its layers, its columns and its vocabularies must be the same; or take=(…) names those that are."


def fitting(patterns: Collection[str], names: Sequence[str]) -> set[str]:
    """The names that fit a pattern, such as `dense 1*`. Raises NotFoundError for a pattern that none fits."""
    found: set[str] = set()
    for pattern in patterns:
        some = [name for name in names if fnmatchcase(name, pattern)]
        if not some:
            raise NotFoundError("layer", pattern, names, hint="carrara model parameters shows a version's.")
        found.update(some)
    return found


def frozen_layers(patterns: Collection[str], names: Sequence[str], task: Task) -> set[str]:
    """The weights that are not to be learned. Raises TrainingError where they are of no version."""
    if patterns and not (task.start or task.trained):
        raise TrainingError(
            "layers are frozen that no version has learned", hint="Go on from one: carrara train MODEL --from VERSION"
        )
    return fitting(patterns, names)


def taken(patterns: Collection[str], names: Sequence[str], weights: Sequence[Array], task: Task) -> list[Array]:
    """The weights to begin with: those of the version that is gone on from, or with patterns those that fit alone, and
    for all others `weights`.

    Raises TrainingError where they are of another shape.
    """
    with np.load(io.BytesIO(started(task, "learned.npz")), allow_pickle=False) as file:
        former = [file[f"arr_{number}"] for number in range(len(file.files))]
    if not patterns:
        if [weight.shape for weight in former] != [weight.shape for weight in weights]:
            raise TrainingError("the version to go on from is of another shape", hint=_SAME)
        return former
    known = dict(zip(_names(task.start), former, strict=True))
    wanted = fitting(patterns, names)
    return [
        _one(name, known, weight) if name in wanted else weight for name, weight in zip(names, weights, strict=True)
    ]


def _one(name: str, known: Mapping[str, Array], weight: Array) -> Array:
    if name not in known:
        raise NotFoundError("layer", name, known, where="the version to go on from")
    if known[name].shape != weight.shape:
        raise TrainingError(f"'{name}' of the version to go on from is {known[name].shape}, and is {weight.shape} here")
    return known[name]


def _names(learned: Mapping[str, bytes]) -> Sequence[str]:
    """How the weights of a version are called."""
    if NAMES in learned:
        names: list[str] = msgspec.json.decode(learned[NAMES])
        return names
    told: dict[str, Any] = msgspec.json.decode(learned[SHAPE])
    return Shape(tuple(told["numbers"]), tuple(map(tuple, told["categories"])), tuple(told["layers"]), 1).names
