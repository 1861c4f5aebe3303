"""Scores of another model for rows that it has learned from: each by a fit that knew nothing from its time on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from carrara.data.rows import Rows, batches
from carrara.models.runtimes.onnx import session
from carrara.training.inputs import NUMBERS, tensors_of
from carrara.training.stages import Stage
from carrara.training.trainers.base import Array


def scores_of_folds(stages: Sequence[Stage], rows: Rows, time: str) -> dict[str, Array]:
    """The scores of stages that have folds, by address, float32 of shape (rows, columns): of a row that is predicted
    after all that a stage has learned from its own, else that of the last fold that began before the row's `time`."""
    return {stage.address: _scores(stage, rows, time) for stage in stages if stage.folds}


def _scores(stage: Stage, rows: Rows, time: str) -> Array:
    made, done = np.empty((rows.height, len(stage.names)), np.float32), 0
    begins = pl.Series([fold.begin for fold in stage.folds])
    for batch in batches(rows, list(dict.fromkeys([*stage.features, time]))):
        place, done = done, done + batch.height
        fold_of = begins.search_sorted(batch[time].cast(begins.dtype), side="right").to_numpy().astype(np.int64) - 1
        fold_of[(batch[time] > stage.until).to_numpy()] = len(stage.folds)
        for number in np.unique(fold_of):
            graph = stage.graph if number == len(stage.folds) else stage.folds[number].graph
            mine = fold_of == number
            made[place:done][mine] = _answers(graph, stage, batch.filter(pl.Series(mine)))
    return made


def _answers(graph: bytes, stage: Stage, rows: pl.DataFrame) -> Array:
    given, opened = tensors_of(stage.signature.inputs, rows), session(graph)
    # Its numbers are one tensor, whose name depends on whether there are transforms.
    named = {one.name: given.get(one.name, given.get(NUMBERS)) for one in opened.get_inputs()}
    (found,) = opened.run([stage.signature.outputs[0].name], named)
    return np.asarray(found, np.float32).reshape(rows.height, len(stage.names))


def begins_of(times: pl.Series, folds: int) -> list[datetime]:
    """When each of so many folds begins: stretches of equal rows, the first of which is learned from alone.

    >>> from datetime import UTC, timedelta
    >>> start = datetime(2024, 1, 1, tzinfo=UTC)
    >>> [moment.day for moment in begins_of(pl.Series([start + timedelta(days=n) for n in range(8)]), 3)]
    [3, 5, 7]
    """
    ordered = times.sort()
    places = [len(ordered) * number // (folds + 1) for number in range(1, folds + 1)]
    return sorted({ordered[place] for place in places})
