"""Metrics of segmentation, a class for each pixel: each one function of labelled images and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import as_weights
from carrara.evaluation.weighing import Floats, Ints, mean, mean_where_defined, ratio


@dataclass(frozen=True)
class SegmentedRows:
    """Of each image the pixels of each class, float64 of shape (images, classes): `both` labelled and predicted so,
    `labelled` and `predicted`."""

    both: Floats
    labelled: Floats
    predicted: Floats
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.both)

    def take(self, places: Ints) -> SegmentedRows:
        weights = None if self.weights is None else self.weights[places]
        return SegmentedRows(self.both[places], self.labelled[places], self.predicted[places], weights)


def segmented_rows(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> SegmentedRows:
    """Count pixels: `labels` and `scores` are classes from 0 on, of the same shape (images, …).

    Raises DataError for shapes that differ, and for what is no class. The threshold has no meaning here.
    """
    truth, found = np.asarray(labels), np.asarray(scores)
    if truth.shape != found.shape or truth.ndim < 2:
        raise DataError(f"the labels have the shape {list(truth.shape)}, and the predictions {list(found.shape)}")
    for what, numbers in (("labels", truth), ("predictions", found)):
        if numbers.size and (not (numbers == np.floor(numbers)).all() or numbers.min() < 0):
            raise DataError(f"the {what} of a segmentation are classes: whole numbers from 0 on")
    images = len(truth)
    truth, found = (one.reshape(images, -1).astype(np.int64) for one in (truth, found))
    classes = int(max(truth.max(initial=0), found.max(initial=0))) + 1
    place = np.arange(images)[:, None] * classes
    right = truth == found
    both, labelled, predicted = (
        np.bincount(places.ravel(), minlength=images * classes).reshape(images, classes).astype(np.float64)
        for places in ((place + truth)[right], place + truth, place + found)
    )
    return SegmentedRows(both, labelled, predicted, as_weights(weights, images))


def mean_iou(rows: SegmentedRows, weights: Floats) -> Any:
    """The mean over classes of intersection over union, of all images' pixels; a class that is nowhere is none."""
    return mean_where_defined(_iou(rows, weights))


def class_iou(rows: SegmentedRows, weights: Floats, k: int = 1) -> Any:
    """The intersection over union of the class k."""
    found = _iou(rows, weights)
    return found[..., k] if k < found.shape[-1] else np.full(found.shape[:-1], np.nan)[()]


def mean_dice(rows: SegmentedRows, weights: Floats) -> Any:
    """The mean over classes of twice the intersection over the sum of both, of the pixels of all images."""
    both, labelled, predicted = (weights @ counts for counts in (rows.both, rows.labelled, rows.predicted))
    return mean_where_defined(ratio(2 * both, labelled + predicted))


def pixel_accuracy(rows: SegmentedRows, weights: Floats) -> Any:
    """The share of pixels that have their class."""
    return ratio((weights @ rows.both).sum(axis=-1), (weights @ rows.labelled).sum(axis=-1))


def image_iou(rows: SegmentedRows, weights: Floats) -> Any:
    """The mean over images of each image's own mean intersection over union."""
    return mean(mean_where_defined(ratio(rows.both, rows.labelled + rows.predicted - rows.both)), weights)


def _iou(rows: SegmentedRows, weights: Floats) -> Any:
    both, labelled, predicted = (weights @ counts for counts in (rows.both, rows.labelled, rows.predicted))
    return ratio(both, labelled + predicted - both)
