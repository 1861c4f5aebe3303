"""The prediction log: every prediction with the features that it used, written off the hot path.

A bounded buffer and one writer thread: a request never waits for the lake. Rows are idempotent by their id.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from carrara.core.clock import now
from carrara.core.columns import UTC_TIME
from carrara.storage import Stores

Array = np.ndarray[Any, Any]

_BUFFERED_BATCHES = 10_000
_FLUSH_ROWS = 50_000


@dataclass(frozen=True)
class LoggedPredictions:
    """A batch of predictions of one model version, as columns of equal length.

    `keys`, `request` and `outputs` go under their names, `features` under `view:feature`.
    """

    model: str
    version: int
    ids: list[str]
    event_times: Array
    keys: Mapping[str, Array]
    request: Mapping[str, Array]
    features: Mapping[str, Array]
    outputs: Mapping[str, Array]


def log_table(model: str) -> str:
    """The lake's table of a model's predictions."""
    return f"predictions/{model}"


class PredictionLog:
    """Takes batches from any thread and appends them to the lake every `flush_seconds`.

    What a killed process had not yet written is lost: at most `flush_seconds` of predictions. When the buffer
    is full, a batch is dropped and counted in `dropped`, and serving goes on.
    """

    def __init__(self, stores: Stores, *, flush_seconds: float = 2.0) -> None:
        self._lake = stores.lake
        self._flush_seconds = flush_seconds
        self._waiting: queue.Queue[LoggedPredictions | None] = queue.Queue(_BUFFERED_BATCHES)
        self.dropped = 0
        self.written = 0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, batch: LoggedPredictions) -> None:
        """Hand over a batch; never waits."""
        try:
            self._waiting.put_nowait(batch)
        except queue.Full:
            self.dropped += len(batch.ids)

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_:
            batches, open_ = self._gather()
            for model in dict.fromkeys(batch.model for batch in batches):
                self._write(model, [batch for batch in batches if batch.model == model])

    def _gather(self) -> tuple[list[LoggedPredictions], bool]:
        """The batches of one flush interval, and whether more may come."""
        first = self._waiting.get()
        if first is None:
            return [], False
        batches, rows, deadline = [first], len(first.ids), now().timestamp() + self._flush_seconds
        while rows < _FLUSH_ROWS and (left := deadline - now().timestamp()) > 0:
            try:
                batch = self._waiting.get(timeout=left)
            except queue.Empty:
                break
            if batch is None:
                return batches, False
            batches.append(batch)
            rows += len(batch.ids)
        return batches, True

    def _write(self, model: str, batches: list[LoggedPredictions]) -> None:
        frame = pl.concat([_frame(batch) for batch in batches], how="diagonal")
        try:
            self._lake.write(log_table(model), frame, mode="append")
            self.written += frame.height
        except Exception as error:  # the writer outlives a lake that is away
            self.error = error
            self.dropped += frame.height


def read_log(stores: Stores, model: str) -> pl.DataFrame:
    """Every logged prediction of a model once, oldest first; a repeated id counts with its first row."""
    rows = stores.lake.scan(log_table(model)).unique("prediction_id", keep="first", maintain_order=True)
    return rows.sort("event_time", "prediction_id").collect()


def _frame(batch: LoggedPredictions) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "prediction_id": pl.Series(batch.ids, dtype=pl.String),
        "logged_at": pl.repeat(now(), len(batch.ids), dtype=UTC_TIME, eager=True),
        "event_time": pl.Series(batch.event_times.astype(np.int64)).cast(UTC_TIME),
        "version": pl.repeat(batch.version, len(batch.ids), dtype=pl.Int64, eager=True),
    }
    for group in (batch.keys, batch.request, batch.features, batch.outputs):
        columns |= {name: _series(values) for name, values in group.items()}
    return pl.DataFrame(columns)


def _series(values: Array) -> pl.Series:
    if values.dtype == object:
        return pl.Series(values.tolist(), dtype=pl.String)
    if values.dtype.kind == "M":
        return pl.Series(values.astype("datetime64[us]").astype(np.int64)).cast(UTC_TIME)
    if values.ndim == 2:
        return pl.Series(values.tolist(), dtype=pl.List(pl.Float64))
    series = pl.Series(values)
    return series.fill_nan(None) if series.dtype.is_float() else series
