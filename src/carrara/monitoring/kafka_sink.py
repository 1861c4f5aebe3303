"""A topic that predictions are written to: whole batches or nothing, each exactly once, with how far they have come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from carrara.core.errors import UnavailableError
from carrara.core.plugins import require
from carrara.features.streams.kafka import Kafka

Row = tuple[str, bytes]
"""The key of a message, and its text."""

_PATIENCE_SECONDS = 30.0
_TRANSACTION_MS = 900_000
_FULL_SECONDS = 1.0


class KafkaSink:
    """Writes to a topic as the one writer named `writer`: an older one of that name can write no more.

    The position is kept by the topic's broker, as the offset of a consumer group of that name, and moves with the rows
    in one transaction.
    """

    def __init__(self, client: Any, topic: Kafka, writer: str) -> None:
        self._client, self._topic, self._writer = client, topic.topic, writer
        options = topic.client_options()
        self._group = client.Consumer({**options, "group.id": writer, "enable.auto.commit": False})
        self._producer = client.Producer(
            {**options, "transactional.id": writer, "transaction.timeout.ms": _TRANSACTION_MS, "linger.ms": 5}
        )
        self._producer.init_transactions(_PATIENCE_SECONDS)

    def position(self) -> int | None:
        """The position of the last batch that was written; None at first."""
        (found,) = self._group.committed([self._place()], timeout=_PATIENCE_SECONDS)
        return None if found.offset < 0 else int(found.offset)

    def write(self, rows: Iterable[Row], position: int) -> int:
        """Write rows and the position that they bring the topic to, all or nothing; the number of rows."""
        self._producer.begin_transaction()
        try:
            count = 0
            for key, text in rows:
                self._put(key, text)
                count += 1
            group = self._group.consumer_group_metadata()
            self._producer.send_offsets_to_transaction([self._place(position)], group, _PATIENCE_SECONDS)
            self._producer.commit_transaction(_PATIENCE_SECONDS)
        except BaseException:
            self._producer.abort_transaction(_PATIENCE_SECONDS)
            raise
        return count

    def close(self) -> None:
        self._group.close()

    def _put(self, key: str, text: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, text, key=key.encode())
            except BufferError:
                self._producer.poll(_FULL_SECONDS)
                continue
            self._producer.poll(0)
            return

    def _place(self, offset: int = -1001) -> Any:
        return self._client.TopicPartition(self._topic, 0, offset)


@contextmanager
def opened_sink(topic: Kafka, writer: str) -> Iterator[KafkaSink]:
    """The topic as a sink; UnavailableError where the broker does not answer or refuses, then nothing is written."""
    client = require("confluent_kafka", extra="kafka", purpose=f"writing to topic '{topic.topic}'")
    try:
        sink = KafkaSink(client, topic, writer)
        try:
            yield sink
        finally:
            sink.close()
    except client.KafkaException as error:
        raise UnavailableError(
            f"topic '{topic.topic}' of {topic.servers} cannot be written: {error.args[0].str()}",
            hint="See that the broker runs, that the topic is there, and that the options let it be written.",
        ) from error
