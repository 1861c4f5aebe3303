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
from carrara.monitoring.outcomes import OutcomeRule, as_outcomes, encode_outcomes
from carrara.storage.stores import Stores

_MOST_ROWS = 20_000

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tested:
    """`labels` are numbers or places among the classes, float64 of shape (rows,), or of several labels 0 and 1, (rows,
    labels); `scores` the first output, of shape (rows,) or (rows, classes); `features` the columns that were read."""

    labels: Array
    scores: Array
    features: pl.DataFrame


def tested_rows(
    stores: Stores,
    version: ModelVersion,
    rule: OutcomeRule,
    training_set: pl.LazyFrame,
    servable: Servable,
    classes: tuple[str, ...],
) -> Tested | None:
    """Some thousand rows of the test part, evenly drawn; None where the split no longer gives them."""
    split = recorded_definitions(stores, version).of_kind("model")[version.model].split
    signature = servable.signature
    try:
        part = split_table(training_set, split, time=rule.time, known_at=rule.known_at)["test"]
        part = part.gather_every(max(part.height // _MOST_ROWS, 1))
        features = part.select([spec.name for spec in signature.inputs])
        scores = np.asarray(servable.run(signature.tensors(features))[signature.outputs[0].name], np.float64)
        told = part.select(list(rule.columns))
        outcomes = told.select(as_outcomes(rule.column, told.schema).alias("outcome")).to_series()
        labels = encode_outcomes(outcomes, rule.kind, classes)
    except (CarraraError, OSError):
        return None
    there = np.isfinite(np.column_stack([labels, scores])).all(axis=1)
    return Tested(labels[there], scores[there], features.filter(pl.Series(there))) if there.any() else None
