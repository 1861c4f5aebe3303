"""The test rows of a version with what it says of them now: by these its probabilities are calibrated, and its errors
are known, where no outcome is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import CarraraError
from carrara.data.rows import split_table
from carrara.models.registry import ModelVersion, recorded_definitions
from carrara.models.runtimes.base import Servable
from carrara.storage.stores import Stores

_MOST_ROWS = 20_000
_KINDS = ("binary", "multiclass", "regression")
"""The kinds of label whose metrics can be estimated before outcomes are known."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tested:
    """`labels` are numbers, or places among the classes, float64 of shape (rows,); `scores` the first output, of shape
    (rows,) or (rows, classes); `features` the columns that were read."""

    labels: Array
    scores: Array
    features: pl.DataFrame


def tested_rows(
    stores: Stores, version: ModelVersion, training_set: pl.LazyFrame, servable: Servable, classes: tuple[str, ...]
) -> Tested | None:
    """Some thousand rows of the test part, evenly drawn; None where the split no longer gives them."""
    model = recorded_definitions(stores, version).of_kind("model")[version.model]
    label, signature = model.label, servable.signature
    if label.kind not in _KINDS:
        return None
    try:
        part = split_table(training_set, model.split, time=label.time, known_at=label.known_at)["test"]
        part = part.gather_every(max(part.height // _MOST_ROWS, 1))
        features = part.select([spec.name for spec in signature.inputs])
        scores = np.asarray(servable.run(signature.tensors(features))[signature.outputs[0].name], np.float64)
        labels = _labels(part[label.column], classes)
    except (CarraraError, OSError):
        return None
    there = np.isfinite(labels) & np.isfinite(scores.reshape(len(labels), -1)).all(axis=1)
    return Tested(labels[there], scores[there], features.filter(there)) if there.any() else None


def _labels(values: pl.Series, classes: tuple[str, ...]) -> Array:
    if classes:
        places = {name: float(place) for place, name in enumerate(classes)}
        values = values.cast(pl.String).replace_strict(places, default=None, return_dtype=pl.Float64)
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
