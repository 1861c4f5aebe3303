"""The prediction log: every prediction with the features that it used, on its way to the lake off the hot path.

A bounded buffer → a journal on the local disk (journal.py) every `flush_seconds` → the lake's table every
`ship_seconds`. A request waits for neither. Rows are idempotent by their id.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from carrara.core.clock import now
from carrara.core.errors import StorageError
from carrara.core.metrics import LOG_JOURNAL_BYTES, LOG_LAG_SECONDS, LOG_ROWS
from carrara.metadata.prediction_losses import add_loss
from carrara.monitoring.journal import Journal
from carrara.monitoring.logged_predictions import LoggedPredictions, Waiting, alike, frame_of
from carrara.monitoring.sampling import SAMPLED, AppliedSampling, Sampling
from carrara.storage.stores import Stores

FLUSH_SECONDS = 0.5
"""What a killed process loses at most: the predictions of so many seconds."""

SHIP_SECONDS = 2.0
_BUFFERED_BATCHES = 20_000
_BUFFERED_ROWS = 500_000
_FLUSH_ROWS = 50_000
_FLUSH_BATCHES = 4_000
"""So many are written at a time: more arrays of one row than that no longer lie in a processor's cache."""
_RETRY_SECONDS = 5.0
_log = logging.getLogger(__name__)


def log_table(model: str) -> str:
    """The lake's table of a model's predictions."""
    return f"predictions/{model}"


def journals(stores: Stores) -> Path:
    """Where the processes of this machine keep their journals."""
    return stores.root / ".carrara" / "journals"


class PredictionLog:
    """Takes batches from any thread; what is dropped is counted and recorded, and serving goes on.

    What becomes of a lake that is away: the journal grows up to its bound, and is shipped when it is back, by this
    process or by the next one. What becomes of a full disk: the buffer fills, and then batches are dropped.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        flush_seconds: float = FLUSH_SECONDS,
        ship_seconds: float = SHIP_SECONDS,
        sampling: Callable[[str], Sampling] | None = None,
    ) -> None:
        self._stores = stores
        self._sampling = sampling or AppliedSampling(stores.metadata)
        self._flush_seconds, self._ship_seconds = flush_seconds, ship_seconds
        self._waiting: deque[Waiting] = deque()
        self._journal = Journal(journals(stores))
        self._held: list[Waiting] = []
        self._unrecorded, self._since = 0, now()
        self._wake, self._closing, self._written = threading.Event(), threading.Event(), threading.Event()
        self.dropped = self.written = self.skipped = 0
        self.error: Exception | None = None
        self._writer = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        self._shipper = threading.Thread(target=self._ship, name="prediction-log-shipper", daemon=True)
        self._writer.start()
        self._shipper.start()

    def append(self, batch: LoggedPredictions, **answered: Any) -> None:
        """Hand over a batch, with how it was answered: `endpoint`, `arm`, `shadow`, `latency`; never waits."""
        rows = len(batch.ids)
        self._journal.take(rows)
        unsettled = self._journal.taken - self._journal.settled
        if len(self._waiting) >= _BUFFERED_BATCHES or unsettled > _BUFFERED_ROWS:
            self._drop(rows)
            return
        # The writer is not woken for each: two threads would hand the interpreter back and forth.
        self._waiting.append(Waiting(batch, answered))
        if (unsettled > _FLUSH_ROWS or len(self._waiting) > _FLUSH_BATCHES) and not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what is waiting, ship it if the lake is there, and stop."""
        self._closing.set()
        self._wake.set()
        self._writer.join()
        self._written.set()
        self._shipper.join()
        self._journal.close()
        from carrara.monitoring.shipping import ship_abandoned

        try:
            # Its own journal is nobody's now.
            ship_abandoned(self._stores, journals(self._stores))
        except Exception as error:  # of a lake that is away, it is the next process's
            self._noticed(error)

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            self._flush(last=False)
        self._flush(last=True)

    def _flush(self, *, last: bool) -> None:
        held, self._held = self._held, []
        while held or self._waiting:
            held += [self._waiting.popleft() for _ in range(min(len(self._waiting), _FLUSH_BATCHES))]
            for same in alike(held):
                self._write(same, last=last)
            held = []
        self._record_losses()

    def _write(self, batches: list[Waiting], *, last: bool) -> None:
        """Sample, and write into the journal; where the disk does not take it, hold it and try again."""
        model, rows = batches[0].batch.model, sum(len(one.batch.ids) for one in batches)
        try:
            frame = self._sampled(model, batches)
            if frame.height:
                self._journal.append(log_table(model), frame.height, _ipc(frame), of=rows)
            else:
                self._journal.settle(rows)
        except StorageError as error:
            self._noticed(error)
            if last:
                self._drop(rows, model)
            else:
                self._held += batches
            return
        except Exception as error:  # rows that cannot be written down stop neither the log nor serving
            self._noticed(error)
            self._drop(rows, model)
            return
        self.written += frame.height
        self.skipped += rows - frame.height
        LOG_ROWS.labels(model, "written").inc(frame.height)
        LOG_ROWS.labels(model, "left out").inc(rows - frame.height)

    def _sampled(self, model: str, batches: list[Waiting]) -> pl.DataFrame:
        sampling = self._sampling(model)
        if sampling.always is None:
            # Where no rule looks at what was predicted, most of it need not be written into a frame first.
            batches = sampling.with_drawn(batches)
        if not batches:
            return pl.DataFrame()
        frame = frame_of(batches)
        try:
            return sampling.kept(frame)
        except pl.exceptions.PolarsError as error:  # a rule that names a column which is not there
            self._noticed(error)
            return Sampling(sampling.rate).kept(frame)

    def _ship(self) -> None:
        """Bring what lies in the journal to the lake, and what processes that are no more have left."""
        pause = self._ship_seconds
        while not self._written.wait(pause):
            pause = self._ship_seconds
            # A server answers first, and brings then what the lake needs.
            from carrara.monitoring.shipping import ship, ship_abandoned

            LOG_LAG_SECONDS.set(self._lag())
            LOG_JOURNAL_BYTES.set(self._journal.held_bytes())
            try:
                self._journal.roll()
                ship(self._stores, self._journal.folder)
                ship_abandoned(self._stores, journals(self._stores))
            except Exception as error:  # the shipper outlives a lake that is away
                self._noticed(error)
                pause = _RETRY_SECONDS

    def _lag(self) -> float:
        """How old the oldest prediction is that is not in the lake, in seconds."""
        try:
            times = [path.stat().st_mtime for path in self._journal.folder.glob("*.segment*")]
        except FileNotFoundError:  # one that ended at this moment
            return self._lag()
        return max(time.time() - min(times), 0.0) if times else 0.0

    def _noticed(self, error: Exception) -> None:
        if str(error) != str(self.error):
            _log.warning("prediction log: %s", error)
        self.error = error

    def _drop(self, rows: int, model: str = "") -> None:
        self.dropped += rows
        self._unrecorded += rows
        LOG_ROWS.labels(model, "dropped").inc(rows)
        self._journal.settle(rows)

    def _record_losses(self) -> None:
        rows = self._unrecorded
        if not rows:
            return
        try:
            add_loss(self._stores.metadata, rows, self._since, now(), f"dropped: {self.error or 'the buffer was full'}")
        except StorageError as error:
            self._noticed(error)
            return
        self._unrecorded -= rows
        self._since = now()


def scan_log(
    stores: Stores,
    model: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.LazyFrame:
    """The log's rows with event times in [start, end), as they were written: a repeated id is repeated."""
    rows = stores.lake.scan(log_table(model))
    if start is not None:
        rows = rows.filter(pl.col("event_time") >= start)
    if end is not None:
        rows = rows.filter(pl.col("event_time") < end)
    there = rows.collect_schema().names()
    return rows.with_columns(default.alias(name) for name, default in _DEFAULTS.items() if name not in there)


def once(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each prediction of a version once: a repeated id counts with its first row."""
    return rows.unique(["prediction_id", "version", "shadow"], keep="first", maintain_order=True)


def read_log(stores: Stores, model: str, *, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
    """Every logged prediction of a model that reached somebody once, oldest first."""
    rows = once(scan_log(stores, model, start=start, end=end).filter(~pl.col("shadow")))
    return rows.sort("event_time", "prediction_id").collect()


_DEFAULTS: dict[str, pl.Expr] = {
    "endpoint": pl.lit(""),
    "arm": pl.lit(""),
    "shadow": pl.lit(False),
    "latency_seconds": pl.lit(None, pl.Float64),
    "features_from": pl.lit("online"),
    SAMPLED: pl.lit("rate"),
}


def _ipc(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="lz4")
    return buffer.getvalue()
