"""Streams: each message counts once, online within seconds, wherever the process is killed; what is no row is kept."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from confluent_kafka import Producer
from feature_room import UTC_TIME, Room, open_room, reopen, table

from carrara.core.errors import ConfigurationError, DefinitionError, MissingExtra, UnavailableError
from carrara.features.pushes import push
from carrara.features.streams.kafka import Kafka
from carrara.features.streams.run import Streamed, dead_letters, run_stream
from commands import carrara
from forked import Python
from kafka_broker import make_topic, produce, running_broker

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name",))
rows = carrara.Dataset("rows", source="rows.parquet")
STREAM = {stream}


@carrara.feature_view(entity="thing", source="rows", event_time="event", stream=STREAM, features={{"x": "float64"}})
def state(rows):
    return rows


recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="event", stream=STREAM,
    aggregations=(carrara.count(windows=("30d",)), carrara.total("x", windows=("30d",)), carrara.last("x", windows=("30d",))))
plain = carrara.FeatureView("plain", entity="thing", source="rows", event_time="event", features={{"x": "float64"}},
    sql="SELECT * FROM rows")
"""  # noqa: E501
SCHEMA = {"name": pl.String(), "event": UTC_TIME, "x": pl.Float64()}
PARTITIONS = 2
QUICK = {"fetch.wait.max.ms": "20"}
"""A broker that has nothing more says so at once."""
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Source:
    """A stream of the tests: how it is declared, and how messages come into it."""

    declared: str
    put: Callable[[Sequence[bytes]], None]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory):
    with running_broker(tmp_path_factory.mktemp("broker")) as address:
        yield address


@pytest.fixture(params=["kafka", "folder"])
def source(request, tmp_path) -> Source:
    if request.param == "kafka":
        address, topic = request.getfixturevalue("broker"), f"t-{uuid4().hex[:8]}"
        make_topic(address, topic, PARTITIONS)
        return Source(
            f"carrara.Kafka('{address}', topic='{topic}', options={QUICK})",
            lambda payloads: produce(address, topic, payloads, PARTITIONS),
        )
    folder = tmp_path / "incoming"
    folder.mkdir()

    def put(payloads: Sequence[bytes]) -> None:
        name = f"{time.monotonic_ns()}.jsonl"
        (folder / f".{name}").write_bytes(b"\n".join(payloads))
        (folder / f".{name}").rename(folder / name)

    return Source("carrara.Folder('incoming')", put)


def event(name: str, minutes_ago: float, x: float | None) -> bytes:
    return json.dumps({"name": name, "event": (NOW - timedelta(minutes=minutes_ago)).isoformat(), "x": x}).encode()


def room_at(folder: Path, source: Source, rows: Sequence[dict] = ()) -> Room:
    return open_room(folder, DEFINITIONS.format(stream=source.declared), rows=table(list(rows), **SCHEMA))


def stream(room: Room, view: str = "recent") -> list[Streamed]:
    """Read the stream to its present end."""
    done: list[Streamed] = []
    run_stream(room.stores, room.view(view), room.entity(view), threading.Event(), done.append, until_empty=True)
    return done


def online(room: Room, *names: str) -> dict[str, list[float]]:
    labels = pl.DataFrame({"name": list(names)}).with_columns(at=pl.lit(datetime.now(UTC), UTC_TIME))
    return {name: values.tolist() for name, values in room.online(labels, "state", "recent").items()}


def offline(room: Room, *names: str) -> dict[str, list[float]]:
    room.compute("state", "recent")
    labels = pl.DataFrame({"name": list(names)}).with_columns(at=pl.lit(datetime.now(UTC), UTC_TIME))
    found = room.offline(labels, "state", "recent")
    return {name: found[name].cast(pl.Float64).fill_null(np.nan).to_list() for name in found.columns}


def test_messages_are_online_and_offline_and_count_once(tmp_path, source):
    room = room_at(tmp_path, source)
    source.put([event("a", 9 - n % 3, float(n)) for n in range(40)] + [event("b", 1, None)])
    assert sum(done.rows for done in stream(room)) == 41
    assert sum(done.rows for done in stream(room, "state")) <= 41
    assert stream(room) == []
    found = online(room, "a", "b")
    assert found["recent:count_30d"] == [40.0, 1.0]
    assert found["recent:x_sum_30d"][0] == sum(range(40))
    np.testing.assert_equal(offline(room, "a", "b"), found)


def test_it_goes_on_where_it_stopped(tmp_path, source):
    room = room_at(tmp_path, source)
    for part in range(3):
        source.put([event("a", 1, float(part))])
        assert [done.rows for done in stream(room)] == [1]
        room.stores.close()
        room = reopen(tmp_path)
    assert online(room, "a")["recent:count_30d"] == [3.0]


def test_messages_that_are_no_rows_are_kept_with_the_reason_and_hold_nobody_up(tmp_path, source):
    bad = [
        b"{not json",
        b"[1, 2]",
        b'"text"',
        b"\xff\xfe",
        b'{"name": "a", "x": 1.0}',
        b'{"name": "a", "event": "yesterday", "x": 1.0}',
        b'{"name": "a", "event": "2024-01-01T00:00:00", "x": 1.0}',
        b'{"name": "a", "event": null, "x": 1.0}',
        b'{"name": null, "event": "2024-01-01T00:00:00Z", "x": 1.0}',
        b'{"name": 7, "event": "2024-01-01T00:00:00Z", "x": 1.0}',
        b'{"name": "a", "event": "2024-01-01T00:00:00Z", "x": "red"}',
    ]
    room = room_at(tmp_path, source)
    source.put([event("a", 1, 1.0)])
    stream(room)
    source.put([*bad, event("a", 2, 2.0)])
    done = stream(room)
    rejected = dead_letters(room.stores, room.view("recent"))
    assert (sum(one.rows for one in done), sum(one.rejected for one in done)) == (1, len(bad))
    assert sorted(rejected["payload"].to_list()) == sorted(bad)
    assert all(rejected["error"].str.len_chars() > 10)
    assert rejected["origin"].n_unique() == len(bad)
    assert online(room, "a")["recent:count_30d"] == [2.0]
    assert stream(room) == []


def test_a_topic_of_nothing_but_bad_messages_and_a_good_one_later(tmp_path, source):
    """No position can be kept before there is a row: the bad ones are looked at again, and counted once."""
    room = room_at(tmp_path, source)
    for _ in range(3):
        source.put([b"bad"])
        stream(room)
    source.put([event("a", 1, 1.0)])
    stream(room)
    assert dead_letters(room.stores, room.view("recent")).height == 3
    assert online(room, "a")["recent:count_30d"] == [1.0]
    assert stream(room) == []


def test_what_was_streamed_the_dataset_s_history_and_pushes_are_one_view(tmp_path, source):
    room = room_at(tmp_path, source, [{"name": "a", "event": NOW - timedelta(days=2), "x": 5.0}])
    room.compute("state", "recent")
    for view in ("state", "recent"):
        room.materialise(view, NOW - timedelta(hours=1))
    push(room.stores, room.view("recent"), room.entity("recent"), [json.loads(event("a", 3, 2.0))])
    source.put([event("a", 2, 1.0)])
    stream(room)
    assert online(room, "a")["recent:x_sum_30d"] == [8.0]
    # The next day's dataset has what was streamed as well.
    streamed = [{"name": "a", "event": NOW - timedelta(minutes=n), "x": x} for n, x in ((2, 1.0), (3, 2.0))]
    room.put(rows=table([{"name": "a", "event": NOW - timedelta(days=2), "x": 5.0}, *streamed], **SCHEMA))
    room.compute("recent")
    room.materialise("recent", datetime.now(UTC))
    assert online(room, "a")["recent:x_sum_30d"] == [8.0]


def test_a_message_is_online_within_seconds_of_its_coming(tmp_path, source):
    room = room_at(tmp_path, source)
    came, told, failed = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            run_stream(room.stores, room.view("recent"), room.entity("recent"), told, lambda done: came.set())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    for number in range(1, 3):
        came.clear()
        source.put([event("a", 0, 1.0)])
        assert came.wait(10), failed
        assert online(room, "a")["recent:count_30d"] == [float(number)]
    told.set()
    thread.join(10)
    assert not thread.is_alive()
    assert not failed


RUN = """
import sys, threading
from pathlib import Path
from feature_room import reopen
from carrara.features.streams.run import run_stream

room = reopen(Path(sys.argv[1]))
view = room.view("recent")
run_stream(room.stores, view, room.entity("recent"), threading.Event(), lambda done: print(done.rows, flush=True),
           until_empty=sys.argv[2] == "to the end")
"""


def test_killed_again_and_again_it_loses_and_doubles_nothing(tmp_path, source):
    """M3, F13."""
    room_at(tmp_path, source).stores.close()
    sent, draw = 0, np.random.default_rng(4)
    for _ in range(4):
        running = Python(RUN, str(tmp_path), "forever")
        for _ in range(3):
            source.put([event("a", 1, float(sent + n)) for n in range(7)])
            sent += 7
        running.stdout.readline()
        threading.Event().wait(draw.uniform(0, 0.15))
        running.kill()
        running.communicate()
    last = Python(RUN, str(tmp_path), "to the end")
    last.communicate(timeout=60)
    assert last.returncode == 0
    room = reopen(tmp_path)
    room.compute("state", "recent")
    room.materialise("recent", datetime.now(UTC))
    found = online(room, "a")
    assert found["recent:count_30d"] == [float(sent)]
    assert found["recent:x_sum_30d"] == [float(sum(range(sent)))]
    np.testing.assert_equal(offline(room, "a")["recent:count_30d"], found["recent:count_30d"])


def test_two_processes_on_one_stream_take_each_message_once(tmp_path, source):
    room_at(tmp_path, source).stores.close()
    for n in range(6):
        source.put([event("a", 1, float(10 * n + k)) for k in range(10)])
    both = [Python(RUN, str(tmp_path), "to the end") for _ in range(2)]
    told = [one.communicate(timeout=90)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    room = reopen(tmp_path)
    assert sum(int(line) for one in told for line in one.split()) == 60
    assert online(room, "a")["recent:count_30d"] == [60.0]


def test_many_small_commits_are_joined_when_a_view_is_computed(tmp_path, source, monkeypatch):
    monkeypatch.setattr("carrara.storage.lake._MOST_FILES", 3)
    room = room_at(tmp_path, source)
    for n in range(6):
        source.put([event("a", 1, float(n))])
        stream(room)
    before = online(room, "a")
    np.testing.assert_equal(offline(room, "a")["recent:count_30d"], before["recent:count_30d"])
    source.put([event("a", 1, 6.0)])
    stream(room)
    assert online(room, "a")["recent:count_30d"] == [7.0]
    room.materialise("recent", datetime.now(UTC))
    assert online(room, "a")["recent:count_30d"] == [7.0]


def test_a_folder_takes_tables_too_and_leaves_unfinished_files_alone(tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    room = room_at(tmp_path, Source("carrara.Folder('incoming')", lambda _: None))
    frame = table([{"name": "a", "event": NOW, "x": 1.5}], **SCHEMA)
    frame.write_parquet(folder / "1.parquet")
    frame.write_csv(folder / "2.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    frame.write_parquet(folder / "3.parquet.tmp")
    (folder / "4.parquet").write_bytes(b"no parquet")
    assert [(done.rows, done.rejected) for done in stream(room)] == [(1, 0), (1, 0), (0, 1)]
    (origin,) = dead_letters(room.stores, room.view("recent"))["origin"]
    assert origin == "4.parquet@1"


def test_what_cannot_be_streamed_says_why(tmp_path, monkeypatch):
    room = room_at(tmp_path, Source("carrara.Kafka('127.0.0.1:1', topic='t')", lambda _: None))
    with pytest.raises(DefinitionError, match="'plain' declares no stream"):
        stream(room, "plain")
    monkeypatch.setattr("carrara.features.streams.kafka._PATIENCE_SECONDS", 0.5)
    with pytest.raises(UnavailableError, match=r"topic 't' of 127\.0\.0\.1:1 cannot be read"):
        stream(room)
    with (
        pytest.raises(ConfigurationError, match="has no 'NOT_THERE'"),
        Kafka("127.0.0.1:1", "t", {"sasl.password": "env:NOT_THERE"}).open(tmp_path, lambda name: None),
    ):
        pass
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingExtra, match=r"carrara\[kafka\]"):
        stream(room)


def test_a_topic_that_ends_with_a_transaction_has_an_end(tmp_path, broker):
    """What marks the end of a transaction takes an offset and is no message."""
    topic = f"t-{uuid4().hex[:8]}"
    make_topic(broker, topic, PARTITIONS)
    room = room_at(tmp_path, Source(f"carrara.Kafka('{broker}', topic='{topic}', options={QUICK})", lambda _: None))
    producer = Producer({"bootstrap.servers": broker, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, event("a", 1, 1.0), partition=0)
    producer.commit_transaction(10)
    assert [done.rows for done in stream(room)] == [1]
    assert stream(room) == []


def test_a_topic_that_is_not_there_is_named(tmp_path, broker):
    room = room_at(tmp_path, Source(f"carrara.Kafka('{broker}', topic='nobody')", lambda _: None))
    with pytest.raises(UnavailableError, match="'nobody'"):
        stream(room)


def test_the_command_streams_and_shows_dead_letters(tmp_path, source):
    room_at(tmp_path, source).stores.close()
    source.put([event("a", 1, 1.0), b"bad"])
    here = ("-w", tmp_path, "--json")
    run = carrara("feature", "stream", "recent", "--until-empty", *here)
    assert sum(json.loads(line)["rows"] for line in run.stdout.splitlines()) == 1
    run = carrara("feature", "dead-letters", "recent", *here)
    assert [one["payload"] for one in json.loads(run.stdout)] == ["bad"]
    run = carrara("feature", "status", "recent", *here)
    assert json.loads(run.stdout)[0]["dead_letters"] == 1
