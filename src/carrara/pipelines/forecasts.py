"""What was forecast and what came: the rows of a regression by time, and of a series by how far ahead too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from carrara.data.ahead import KNOWN_AT, STEP
from carrara.data.rows import Rows
from carrara.evaluation.charts.forecasts import Times, error_by_horizon, over_time, series_over_time
from carrara.evaluation.slices import Codes, coded
from carrara.evaluation.weighing import Floats, Ints
from carrara.training.model import Label, Model


@dataclass(frozen=True)
class Forecasts:
    """Numbers and what was predicted of them, by the time they are of: of a series when each came, with the `steps`
    that it was ahead then (see `data.ahead`), of other rows when each was predicted."""

    times: Times
    labels: Floats
    scores: Floats
    steps: Ints | None = None

    @classmethod
    def of(cls, label: Label, rows: Rows, labels: Any, scores: Any) -> Forecasts:
        ahead = {STEP, KNOWN_AT} <= set(rows.schema) and label.known_at == KNOWN_AT
        times = rows[KNOWN_AT if ahead else label.time].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
        steps = rows[STEP].cast(pl.Int64).to_numpy() if ahead else None
        return cls(times, np.asarray(labels, np.float64), np.asarray(scores, np.float64), steps)


def forecast_charts(model: Model, keys: Sequence[str], rows: Rows, labels: Any, scores: Any) -> Mapping[str, Any]:
    """The charts of numbers over time, of a series each by its `keys`; none of what is no number."""
    if model.label.kind != "regression":
        return {}
    found = Forecasts.of(model.label, rows, labels, scores)
    charts = {"over_time": over_time(found.times, found.labels, found.scores)}
    if found.steps is None:
        return charts
    names = [name for name in keys if name in rows.schema]
    known = [pl.col(name).cast(pl.String).fill_null("–") for name in names]
    series = rows.select(names).select(pl.concat_str(known, separator=" · ")).to_series() if names else None
    told = coded(series) if series is not None else Codes((model.label.dataset,), np.zeros(rows.height, np.int32))
    each = series_over_time(found.times, found.labels, found.scores, told, found.steps)
    horizon = error_by_horizon(found.labels, found.scores, found.steps)
    return {"series_over_time": each, "error_by_horizon": horizon, **charts}
