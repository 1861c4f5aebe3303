"""Predictions on their way to others: what the log holds, into a topic of Kafka, each prediction exactly once.

The log is a table that is only appended to. Up to which version it was published is kept by the broker, and moves in
the transaction that writes the messages: killed anywhere, or asked again, a publisher writes nothing twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import polars as pl

from carrara.core.errors import NotFoundError
from carrara.features.streams.kafka import Kafka
from carrara.monitoring.kafka_sink import KafkaSink, Row, opened_sink
from carrara.monitoring.prediction_log import log_table
from carrara.storage.stores import Stores

REPEATED_WITHIN = timedelta(days=7)
"""An id that a client sends again counts as the same prediction for so long."""

_LOOK_SECONDS = 2.0
_ROWS = 20_000


def publish(
    stores: Stores,
    model: str,
    topic: Kafka,
    writer: str,
    stopping: threading.Event,
    told: Callable[[int], None],
    *,
    until_empty: bool = False,
) -> None:
    """Write the logged predictions of a model to a topic until `stopping` is set, or once, and tell of each batch.

    Each is a JSON object, with its id as the message's key; what shadows answer reaches nobody and is left out.
    NotFoundError where nothing was ever logged, UnavailableError where the broker does not take it.
    """
    if until_empty and stores.lake.newest(log_table(model)) is None:
        raise NotFoundError("prediction log", model, hint="Nothing that it predicted is logged yet.")
    with opened_sink(topic, writer) as sink:
        while not stopping.is_set():
            told(_publish_new(stores, model, sink))
            if until_empty:
                return
            stopping.wait(_LOOK_SECONDS)


def _publish_new(stores: Stores, model: str, sink: KafkaSink) -> int:
    """Write what was logged since the last time; the number of predictions."""
    table = log_table(model)
    after, newest = sink.position(), stores.lake.newest(table)
    if newest is None or newest == after:
        return 0
    rows = _unpublished(stores, table, after, newest).with_columns(pl.lit(model).alias("model"))
    return sink.write(_messages(rows), newest)


def _unpublished(stores: Stores, table: str, after: int | None, newest: int) -> pl.LazyFrame:
    """The predictions that came into a table since version `after`, each id once, and none that was there before."""
    new = _answered(stores.lake.scan_appended(table, after=after, until=newest))
    new = new.unique("prediction_id", keep="first", maintain_order=True)
    if after is None:
        return new
    # Where files were joined since, they bring rows again that were published.
    since = new.select(pl.col("event_time").min()).collect().item()
    if since is None:
        return new
    before = _answered(stores.lake.scan(table, version=after)).filter(pl.col("event_time") >= since - REPEATED_WITHIN)
    return new.join(before.select("prediction_id"), on="prediction_id", how="anti", maintain_order="left")


def _answered(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that reached somebody."""
    return rows.filter(~pl.col("shadow")) if "shadow" in rows.collect_schema().names() else rows


def _messages(rows: pl.LazyFrame) -> Iterator[Row]:
    for frame in rows.collect_batches(chunk_size=_ROWS, maintain_order=True):
        yield from zip(frame["prediction_id"], frame.write_ndjson().encode().splitlines(), strict=True)
