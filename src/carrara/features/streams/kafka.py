"""A topic of Kafka, or of anything that speaks its protocol."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError, UnavailableError
from carrara.core.plugins import require
from carrara.features.streams.base import Batch, Message

_MOST_MESSAGES = 10_000
_PATIENCE_SECONDS = 10.0
_LOOK_FOR_PARTITIONS_SECONDS = 30.0
_FROM_ENVIRONMENT = "env:"


@dataclass(frozen=True)
class Kafka:
    """The messages of a topic, each a JSON object.

    How far they were read is kept with the rows and not in a consumer group, so that neither is ahead of the other.
    `options` are librdkafka's; a value `env:NAME` is taken from the environment, as secrets are.

    >>> Kafka("localhost:9092", topic="arrivals").describe()
    {'kind': 'kafka', 'servers': 'localhost:9092', 'topic': 'arrivals', 'options': {}}
    """

    servers: str
    topic: str
    options: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {"kind": "kafka", "servers": self.servers, "topic": self.topic, "options": dict(self.options)}

    def client_options(self) -> dict[str, Any]:
        """What every client of the topic is opened with."""
        given = {name: _given(value) for name, value in self.options.items()}
        return {"bootstrap.servers": self.servers, "log_level": 0, **given}

    @contextmanager
    def open(self, root: Path, position: Callable[[str], int | None]) -> Iterator[_TopicReader]:
        client = require("confluent_kafka", extra="kafka", purpose=f"the stream of topic '{self.topic}'")
        consumer = client.Consumer(
            {
                "group.id": "carrara",
                "enable.auto.commit": False,
                # Where a transaction ended the topic goes on behind its last message: only the broker says how far.
                "enable.partition.eof": True,
                # Messages that were deleted before they were read are an error, not a gap that nobody sees.
                "auto.offset.reset": "error",
                "session.timeout.ms": 6_000,
                **self.client_options(),
            }
        )
        try:
            yield _TopicReader(client, consumer, self, position)
        finally:
            consumer.close()


class _TopicReader:
    def __init__(self, client: Any, consumer: Any, topic: Kafka, position: Callable[[str], int | None]) -> None:
        self._client, self._consumer, self._topic, self._position = client, consumer, topic, position
        self._offsets: dict[int, int | None] = {}
        self._ends: dict[int, int] = {}
        self._looked_at = 0.0
        self._take_partitions()

    def next(self, wait_seconds: float) -> Batch:
        if time.monotonic() - self._looked_at > _LOOK_FOR_PARTITIONS_SECONDS:
            self._take_partitions()
        messages, moves = [], {}
        for message in self._consumer.consume(_MOST_MESSAGES, wait_seconds):
            if message.error() is not None:
                self._pass_over(message)
                continue
            partition, offset = message.partition(), message.offset()
            name = self._name(partition)
            messages.append(Message(message.value() or b"", f"{name}@{offset}"))
            moves[name] = (self._offsets[partition], offset + 1)
        for name, (_, after) in moves.items():
            self._offsets[int(name.rpartition("/")[2])] = after
        return Batch(messages, moves)

    def at_end(self) -> bool:
        for partition, offset in self._offsets.items():
            if (offset or 0) <= self._ends.get(partition, -1):
                continue
            place = self._client.TopicPartition(self._topic.topic, partition)
            try:
                first, end = self._consumer.get_watermark_offsets(place, timeout=_PATIENCE_SECONDS)
            except self._client.KafkaException as error:
                raise self._unavailable(error.args[0].str()) from error
            if (first if offset is None else offset) < end:
                return False
        return True

    def _take_partitions(self) -> None:
        """Read every partition from its position; those that were added meanwhile from their beginning."""
        try:
            found = self._consumer.list_topics(self._topic.topic, timeout=_PATIENCE_SECONDS).topics[self._topic.topic]
        except self._client.KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error
        if found.error is not None:
            raise self._unavailable(found.error.str())
        self._looked_at = time.monotonic()
        new = [partition for partition in found.partitions if partition not in self._offsets]
        if not new:
            return
        for partition in new:
            self._offsets[partition] = self._position(self._name(partition))
        beginning = self._client.OFFSET_BEGINNING
        self._consumer.assign(
            [
                self._client.TopicPartition(self._topic.topic, partition, beginning if offset is None else offset)
                for partition, offset in self._offsets.items()
            ]
        )

    def _name(self, partition: int) -> str:
        return f"{self._topic.topic}/{partition}"

    def _pass_over(self, message: Any) -> None:
        """An end is kept in mind, and errors that pass are librdkafka's to deal with; the others end the stream."""
        error = message.error()
        if error.code() == self._client.KafkaError._PARTITION_EOF:
            self._ends[message.partition()] = message.offset()
            return
        if error.code() == self._client.KafkaError._AUTO_OFFSET_RESET:
            raise UnavailableError(
                f"topic '{self._topic.topic}' no longer has what comes after what was read last: {error.str()}",
                hint="What was deleted is lost to the stream; bring it in by the view's dataset, and name a new topic.",
            )
        if error.fatal() or not error.retriable():
            raise self._unavailable(error.str())

    def _unavailable(self, what: str) -> UnavailableError:
        return UnavailableError(
            f"topic '{self._topic.topic}' of {self._topic.servers} cannot be read: {what}",
            hint="See that the broker runs, that the topic is there, and that the options let it be read.",
        )


def _given(value: str) -> str:
    if not value.startswith(_FROM_ENVIRONMENT):
        return value
    name = value.removeprefix(_FROM_ENVIRONMENT)
    if name not in os.environ:
        raise ConfigurationError(f"the environment has no '{name}', which an option of a Kafka stream names")
    return os.environ[name]
