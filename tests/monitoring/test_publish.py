"""Predictions in a topic of Kafka: each id once, whatever is killed, repeated, joined or asked again (M49)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from served import log_trips, trips_between

from carrara.core.errors import UnavailableError
from carrara.features.streams.kafka import Kafka
from carrara.monitoring import kafka_sink
from carrara.monitoring.publish import publish
from commands import carrara
from kafka_broker import make_topic, running_broker

FROM = datetime(2024, 1, 22, tzinfo=UTC)
PARTITIONS = 2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory):
    with running_broker(tmp_path_factory.mktemp("publish")) as address:
        yield address


@pytest.fixture
def topic(broker) -> Kafka:
    made = Kafka(broker, topic=f"p-{uuid4().hex[:8]}", options={"log_level": "0"})
    make_topic(broker, made.topic, PARTITIONS)
    return made


def there(topic: Kafka) -> list[dict]:
    """Every message of a topic that was committed."""
    options = {"bootstrap.servers": topic.servers, "group.id": uuid4().hex, "isolation.level": "read_committed"}
    consumer = Consumer({**options, "enable.partition.eof": True, "fetch.wait.max.ms": 20, "log_level": 0})
    consumer.assign([TopicPartition(topic.topic, partition, 0) for partition in range(PARTITIONS)])
    found, ended = [], 0
    while ended < PARTITIONS:
        message = consumer.poll(20)
        assert message is not None
        if message.error():
            ended += 1
        else:
            row = json.loads(message.value())
            assert message.key().decode() == row["prediction_id"]
            found.append(row)
    consumer.close()
    return found


def publish_once(trained, topic: Kafka) -> int:
    import threading

    counts: list[int] = []
    publish(trained.stores, "late", topic, "the tests", threading.Event(), counts.append, until_empty=True)
    return counts[0]


def ids(topic: Kafka) -> list[str]:
    return sorted(row["prediction_id"] for row in there(topic))


def test_each_prediction_is_there_once_also_where_it_is_logged_again_or_files_are_joined(trained, topic):
    first, second = (trips_between(trained, FROM + timedelta(hours=n), FROM + timedelta(hours=n + 6)) for n in (0, 6))
    logged = log_trips(trained, first)["prediction_id"].to_list()
    assert publish_once(trained, topic) == len(logged)
    assert publish_once(trained, topic) == 0
    shown = there(topic)[0]
    assert (shown["model"], shown["version"], 0 <= shown["probability"] <= 1) == ("late", 1, True)
    assert shown["event_time"].startswith("2024-01-22T")
    log_trips(trained, first)
    log_trips(trained, second, shadow=True)
    assert publish_once(trained, topic) == 0
    more = [f"more-{n}" for n in range(first.height)]
    log_trips(trained, first.with_columns(at=first["at"] + timedelta(days=1)))
    from deltalake import DeltaTable

    DeltaTable(str(trained.stores.lake.folder("predictions/late"))).optimize.compact()
    assert publish_once(trained, topic) == len(more)
    found = ids(topic)
    assert len(found) == len(set(found)) == 2 * len(logged)


def test_a_publisher_that_dies_before_its_transaction_ends_leaves_nothing_and_the_next_one_all(
    trained, topic, monkeypatch
):
    logged = log_trips(trained, trips_between(trained, FROM, FROM + timedelta(hours=6)))["prediction_id"].to_list()

    class Killed(BaseException):
        pass

    def dying(self, key: str, text: bytes) -> None:
        put(self, key, text)
        if key == logged[5]:
            raise Killed

    put = kafka_sink.KafkaSink._put
    monkeypatch.setattr(kafka_sink.KafkaSink, "_put", dying)
    with pytest.raises(Killed):
        publish_once(trained, topic)
    assert there(topic) == []
    monkeypatch.undo()
    assert publish_once(trained, topic) == len(logged)
    assert ids(topic) == sorted(logged)


def test_the_command_publishes_and_names_what_does_not_answer(trained, topic):
    log_trips(trained, trips_between(trained, FROM, FROM + timedelta(hours=6)))
    words = ("monitor", "publish", "late", "--to", topic.servers, "--until-empty", "-w", trained.root)
    done = carrara(*words, "--topic", topic.topic, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["published"] == len(there(topic)) > 0
    assert carrara(*words, "--topic", topic.topic, "--option", "nothing").returncode == 1
    missing = carrara("monitor", "publish", "nobody", *words[3:], "--topic", topic.topic)
    assert (missing.returncode, "nobody" in missing.stderr) == (1, True)


def test_a_broker_that_is_not_there_is_named(trained, monkeypatch):
    monkeypatch.setattr(kafka_sink, "_PATIENCE_SECONDS", 0.3)
    log_trips(trained, trips_between(trained, FROM, FROM + timedelta(hours=2)))
    with pytest.raises(UnavailableError, match=r"'gone' of 127.0.0.1:1 cannot be written"):
        publish_once(trained, Kafka("127.0.0.1:1", topic="gone", options={"log_level": "0"}))
