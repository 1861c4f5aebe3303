"""Metrics of detected objects, boxes with a class and a score in images: each one function of images and their weights.

As COCO counts (Lin et al., 2014): in each image the surest boxes of a class take the labelled box with which they
overlap most; average precision is over 101 recalls, of all images together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import as_weights
from carrara.evaluation.weighing import Floats, Ints, mean_where_defined

OVERLAPS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST_BOXES = 100

Boxes = Mapping[str, npt.ArrayLike]


@dataclass(frozen=True)
class FoundBoxes:
    """The found boxes of one class by falling score: the image of each, and whether it is right at each overlap,
    of shape (overlaps, boxes); and how many boxes of the class are labelled in each image."""

    images: Ints
    right: npt.NDArray[np.bool_]
    labelled: Floats


@dataclass(frozen=True)
class DetectedRows:
    """Images, with the labelled and found boxes of each."""

    labels: Sequence[Boxes]
    found: Sequence[Boxes]
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Ints) -> DetectedRows:
        weights = None if self.weights is None else self.weights[places]
        return DetectedRows([self.labels[p] for p in places], [self.found[p] for p in places], weights)

    @cached_property
    def classes(self) -> dict[int, FoundBoxes]:
        """What was found of each class that is labelled anywhere."""
        known = sorted({int(one) for boxes in self.labels for one in np.asarray(boxes["classes"]).ravel()})
        return {one: self._of_class(one) for one in known}

    def _of_class(self, one: int) -> FoundBoxes:
        images, scores, right, labelled = [], [], [], np.zeros(len(self))
        for place, (truth, answer) in enumerate(zip(self.labels, self.found, strict=True)):
            theirs = _boxes(truth)[np.asarray(truth["classes"]).ravel() == one]
            mine = np.asarray(answer["classes"]).ravel() == one
            surest = np.argsort(-np.asarray(answer["scores"], np.float64)[mine], kind="stable")[:_MOST_BOXES]
            scores.append(np.asarray(answer["scores"], np.float64)[mine][surest])
            right.append(_matched(_boxes(answer)[mine][surest], theirs))
            images.append(np.full(len(surest), place))
            labelled[place] = len(theirs)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        return FoundBoxes(np.concatenate(images)[order], np.concatenate(right, axis=1)[:, order], labelled)


def detected_rows(
    labels: Sequence[Boxes],
    scores: Sequence[Boxes],
    *,
    threshold: float = 0.5,
    weights: npt.ArrayLike | None = None,
) -> DetectedRows:
    """Check images: `labels` have `boxes` (left, top, right, bottom; of shape (boxes, 4)) and `classes`, the answers
    `scores` beside them. DataError names the first that has not. The threshold has no meaning here.
    """
    if len(labels) != len(scores):
        raise DataError(f"there are labels of {len(labels):,} images, and answers to {len(scores):,}")
    for what, images, names in (("labels", labels, ("classes",)), ("answers", scores, ("classes", "scores"))):
        for place, one in enumerate(images):
            _check(one, names, f"the {what} of image {place:,}")
    return DetectedRows(list(labels), list(scores), as_weights(weights, len(labels)))


def mean_average_precision(rows: DetectedRows, weights: Floats) -> Any:
    """The mean average precision of the classes, over overlaps from 0.5 to 0.95."""
    return mean_where_defined(_precisions(rows, weights, range(len(OVERLAPS))))


def average_precision(rows: DetectedRows, weights: Floats, overlap: float = 0.5) -> Any:
    """The mean average precision of the classes, at an overlap of 0.5 (or another of 0.5, 0.55, … 0.95)."""
    return mean_where_defined(_precisions(rows, weights, [int(np.abs(OVERLAPS - overlap).argmin())]))


def average_recall(rows: DetectedRows, weights: Floats) -> Any:
    """The mean over classes, and overlaps from 0.5 to 0.95, of the share of labelled boxes that are found."""
    if weights.ndim == 2:
        return np.array([average_recall(rows, one) for one in weights])
    found = []
    for one in rows.classes.values():
        there = float(weights @ one.labelled)
        if there > 0:
            found.append(float((one.right * weights[one.images]).sum(axis=1).mean()) / there)
    return float(np.mean(found)) if found else np.nan


def _precisions(rows: DetectedRows, weights: Floats, overlaps: Sequence[int]) -> Any:
    """The average precision of each class and overlap, of shape (…, classes × overlaps)."""
    if weights.ndim == 2:
        return np.array([_precisions(rows, one, overlaps) for one in weights])
    return np.array([_precision(one, weights, place) for one in rows.classes.values() for place in overlaps])


def _precision(found: FoundBoxes, weights: Floats, overlap: int) -> float:
    there, heavy = float(weights @ found.labelled), weights[found.images]
    if not there > 0:
        return float("nan")
    right = np.cumsum(found.right[overlap] * heavy)
    of_all = np.cumsum(heavy)
    precision = np.divide(right, of_all, out=np.zeros(len(right)), where=of_all > 0)
    # What is precise at a higher recall is as precise at a lower one.
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / there, _RECALLS, side="left")
    return float(np.append(highest, 0.0)[np.minimum(places, len(highest))].mean())


def _matched(mine: Floats, theirs: Floats) -> npt.NDArray[np.bool_]:
    """Which of my boxes, the surest first, take one of theirs at each overlap."""
    found = np.zeros((len(OVERLAPS), len(mine)), bool)
    common = _overlaps(mine, theirs)
    for place, least in enumerate(OVERLAPS):
        free = np.ones(len(theirs), bool)
        for one in range(len(mine)):
            best = np.where(free, common[one], -1.0)
            if len(theirs) and best.max() >= least:
                # Of equal ones the last is taken, as COCO's own code does.
                taken = len(best) - 1 - int(best[::-1].argmax())
                free[taken], found[place, one] = False, True
    return found


def _overlaps(mine: Floats, theirs: Floats) -> Floats:
    """Intersection over union, of shape (mine, theirs)."""
    low = np.maximum(mine[:, None, :2], theirs[None, :, :2])
    high = np.minimum(mine[:, None, 2:], theirs[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (mine, theirs)]
    union = areas[0][:, None] + areas[1][None, :] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))


def _boxes(one: Boxes) -> Floats:
    return np.asarray(one["boxes"], np.float64).reshape(-1, 4)


def _check(one: Boxes, names: Sequence[str], where: str) -> None:
    for name in ("boxes", *names):
        if name not in one:
            raise DataError(f"{where} have no {name}", hint='{"boxes": [[left, top, right, bottom]], "classes": [0]}')
    boxes = _boxes(one)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] >= boxes[:, :2]).all()):
        raise DataError(f"{where} have a box that is none", hint="left, top, right, bottom")
    for name in names:
        if len(np.asarray(one[name]).ravel()) != len(boxes):
            raise DataError(f"{where} have {len(boxes)} boxes and {len(np.asarray(one[name]).ravel())} {name}")
