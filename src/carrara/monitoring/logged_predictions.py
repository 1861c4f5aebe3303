"""Batches of predictions on their way to the log, and the frame that many of them become, column by column."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from polars import selectors

from carrara.core.arrays import array_column
from carrara.core.columns import UTC_TIME
from carrara.core.named_columns import Columns
from carrara.models.signature import QUERY_ID

Array = np.ndarray[Any, Any]
Answered = Mapping[str, Any]
"""How a batch was answered: what of `endpoint`, `arm`, `shadow` and `latency` is not as the batch says."""

_DTYPE = attrgetter("dtype")


@dataclass(frozen=True, slots=True)
class LoggedPredictions:
    """A batch of predictions of one model version, as columns of equal length.

    `keys`, `request` and `outputs` go under their names, `features` under `view:feature`. `arm` names the part of a
    deployment that answered; a `shadow` answer reached nobody. `latency` is in seconds.
    """

    model: str
    version: int
    ids: list[str]
    event_times: Array
    keys: Mapping[str, Array]
    request: Mapping[str, Array]
    features: Mapping[str, Array]
    outputs: Mapping[str, Array]
    endpoint: str = ""
    arm: str = ""
    shadow: bool = False
    latency: float | None = None
    queries: Array | None = None
    """Of a ranking, the query of each row (texts)."""
    logged_at: float = field(default_factory=time.time)


class Waiting(NamedTuple):
    """A batch with how it was answered, beside it: a copy of the batch would take longer than all else of a request."""

    batch: LoggedPredictions
    answered: Answered

    @property
    def ids(self) -> list[str]:
        return self.batch.ids

    @property
    def drawn_by(self) -> Sequence[str]:
        """What a sample is drawn by: the rows of one query are drawn together."""
        return self.batch.ids if self.batch.queries is None else [str(query) for query in self.batch.queries]

    def said(self, name: str) -> Any:
        """What is known of how the batch was answered."""
        return self.answered[name] if name in self.answered else getattr(self.batch, name)


def alike(waiting: Iterable[Waiting]) -> list[list[Waiting]]:
    """Batches with the same columns together, so that a frame is made once for many."""
    groups: dict[Any, list[Waiting]] = defaultdict(list)
    for one in waiting:
        batch = one.batch
        fallbacks = getattr(batch.features, "fallbacks", None)
        key = (
            *(batch.model, batch.version, one.said("shadow"), len(batch.keys), len(batch.request)),
            tuple(fallbacks.items()) if fallbacks else None,
        )
        groups[key].append(one)
    return list(groups.values())


def frame_of(waiting: list[Waiting]) -> pl.DataFrame:
    """The rows of batches with the same columns."""
    batches = [one.batch for one in waiting]
    first, counts = waiting[0], [len(batch.ids) for batch in batches]
    rows, single = sum(counts), min(counts) == max(counts) == 1

    def repeated(values: list[Any], dtype: Any) -> pl.Series:
        if values.count(values[0]) == len(values):
            return pl.repeat(values[0], rows, dtype=dtype, eager=True)
        return pl.Series(np.repeat(np.array(values), counts)).cast(dtype)

    latencies = [one.said("latency") for one in waiting]
    columns: dict[str, Any] = {
        "prediction_id": pl.Series([name for batch in batches for name in batch.ids], dtype=pl.String),
        "logged_at": repeated([int(batch.logged_at * 1e6) for batch in batches], pl.Int64).cast(UTC_TIME),
        "event_time": pl.Series(_joined([batch.event_times for batch in batches]).astype(np.int64)).cast(UTC_TIME),
        "version": pl.repeat(first.batch.version, rows, dtype=pl.Int64, eager=True),
        "endpoint": repeated([one.said("endpoint") for one in waiting], pl.String),
        "arm": repeated([one.said("arm") for one in waiting], pl.String),
        "shadow": pl.repeat(first.said("shadow"), rows, dtype=pl.Boolean, eager=True),
        "latency_seconds": repeated([math.nan if one is None else one for one in latencies], pl.Float64),
        "features_from": pl.repeat(_features_from(first.batch), rows, dtype=pl.String, eager=True),
    }
    if first.batch.queries is not None:
        columns[QUERY_ID] = pl.Series([name for one in waiting for name in one.drawn_by], dtype=pl.String)
    for group in ("keys", "request", "features", "outputs"):
        parts = [getattr(batch, group) for batch in batches]
        found = _columns([getattr(part, "columns", part) for part in parts], single=single)
        columns |= {name: _series(values) for name, values in found.items()}
    found = _columns([getattr(batch.features, "event_times", {}) for batch in batches], single=single)
    columns |= {f"{view}:event_time": _times(values) for view, values in found.items()}
    return pl.DataFrame(columns).with_columns(selectors.float().fill_nan(None))


def _features_from(batch: LoggedPredictions) -> str:
    """`request`, `online`, or `online` with each view whose store did not answer, and what was taken instead."""
    if not batch.keys:
        return "request"
    fallbacks = getattr(batch.features, "fallbacks", {})
    return "; ".join(["online", *(f"{view}: {policy}" for view, policy in fallbacks.items())])


def _columns(parts: Sequence[Mapping[str, Array]], *, single: bool) -> dict[str, Array]:
    """Each column of parts with the same columns; of `single` parts every array has one row."""
    if len(parts) == 1:
        return dict(parts[0])
    matrices = [part.matrix for part in parts if isinstance(part, Columns) and [*part] == [*parts[0]]]
    if len(matrices) == len(parts):
        return dict(zip(parts[0], np.ascontiguousarray(np.concatenate(matrices).T), strict=True))
    of_type: dict[Any, list[str]] = defaultdict(list)
    for name, values in parts[0].items():
        of_type[values.dtype, values.ndim].append(name)
    found: dict[str, Array] = {}
    for (dtype, dimensions), names in of_type.items():
        arrays: list[Any] = _row_by_row(parts, names)
        if single and dimensions == 1 and dtype.kind in "biuf" and set(map(_DTYPE, arrays)) == {dtype}:
            # Thousands of small arrays lie in memory as they were made, row by row; joined as bytes they take a
            # quarter of the time that np.concatenate takes by columns.
            block = np.frombuffer(b"".join(arrays), dtype).reshape(len(parts), len(names))
            found |= dict(zip(names, np.ascontiguousarray(block.T), strict=True))
        else:
            found |= {name: _joined(arrays[place :: len(names)]) for place, name in enumerate(names)}
    return {name: found[name] for name in parts[0]}


def _row_by_row(parts: Sequence[Mapping[str, Array]], names: Sequence[str]) -> list[Array]:
    """The arrays of all parts, those of one part beside each other."""
    if len(names) == 1:
        return [part[names[0]] for part in parts]
    return list(chain.from_iterable(map(itemgetter(*names), parts)))


def _joined(arrays: Sequence[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _times(microseconds: Array) -> pl.Series:
    found = pl.Series(microseconds.astype(np.int64))
    return found.set(found == np.iinfo(np.int64).min, None).cast(UTC_TIME)


def _series(values: Array) -> pl.Series:
    """One column; NaN stays until the frame is made, which takes it for missing."""
    if values.dtype == object:
        return pl.Series(values.tolist(), dtype=pl.String)
    if values.dtype.kind == "M":
        return pl.Series(values.astype("datetime64[us]").astype(np.int64)).cast(UTC_TIME)
    if values.ndim > 2:
        return array_column(values)
    return pl.Series(values.tolist(), dtype=pl.List(pl.Float64)) if values.ndim == 2 else pl.Series(values)
