"""Pushes: offline and online at once, once each, whatever else writes meanwhile."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, reopen, table
from hypothesis import HealthCheck, given, settings, strategies as st

from carrara.core.errors import ColumnMissing, ColumnTypeMismatch, DataError, TimeWithoutZone
from carrara.features.pushes import Pushed, push
from forked import Python

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name",))
rows = carrara.Dataset("rows", source="rows.parquet")
events = carrara.Dataset("events", source="events.parquet")


@carrara.feature_view(entity="thing", source="rows", event_time="event", features={"x": "float64"})
def state(rows):
    return rows


recent = carrara.AggregateView("recent", entity="thing", source="events", event_time="event", aggregations=(
    carrara.count(windows=("3m", "8m")), carrara.total("x", windows=("8m",)), carrara.last("x", windows=("5m",))
))
"""
SCHEMA = {"name": pl.String(), "event": UTC_TIME, "x": pl.Float64()}
NAMES = ("a", "b", "c")


def event(at: float, x: float | None, name: str = "a") -> dict:
    return {"name": name, "event": minute(at), "x": x}


def room_at(folder: Path, rows: list[dict] = (), events: list[dict] = (), online: str = "lmdb:online") -> Room:
    made = {"rows": table(list(rows), **SCHEMA), "events": table(list(events), **SCHEMA)}
    room = open_room(folder, DEFINITIONS, online=online, **made)
    room.compute("state", "recent")
    return room


def at(room: Room, moment: float) -> Room:
    """The room as its clock shows this minute."""
    online, stores = room.stores.online, replace(room.stores, clock=lambda: minute(moment))
    vars(stores)["online"] = online
    return Room(stores, room.definitions)


def pushed(room: Room, view: str, *rows: dict) -> Pushed:
    return push(room.stores, room.view(view), room.entity(view), list(rows))


def online(room: Room, moment: float) -> dict[str, list[float]]:
    labels = table([{"name": name, "at": minute(moment)} for name in NAMES])
    return {name: values.tolist() for name, values in room.online(labels, "state", "recent").items()}


def offline(room: Room, *moments: float) -> dict[str, list[float]]:
    room.compute("state", "recent")
    labels = table([{"name": name, "at": minute(moment)} for moment in moments for name in NAMES])
    found = room.offline(labels, "state", "recent")
    return {name: found[name].cast(pl.Float64).fill_null(np.nan).to_list() for name in found.columns}


def test_what_is_pushed_is_online_and_offline_at_once(tmp_path):
    room = at(room_at(tmp_path, rows=[event(1, 1.0)], events=[event(1, 1.0)]), 10)
    for view in ("state", "recent"):
        room.materialise(view, minute(5))
    assert pushed(room, "state", event(10, 7.0), event(9, 6.0, "b")) == Pushed("state", 2, 2)
    assert pushed(room, "recent", event(10, 7.0), event(10, 7.0)) == Pushed("recent", 2, 1)
    found = online(room, 10)
    assert found["state:x"][:2] == [7.0, 6.0]
    assert found["recent:count_3m"] == [2.0, 0.0, 0.0]
    np.testing.assert_equal(offline(room, 10), found)


def test_before_it_was_pushed_nobody_knew_it(tmp_path):
    """P5: an event of the past that is pushed now was in no training set of before."""
    room = at(room_at(tmp_path), 10)
    pushed(room, "recent", event(7, 7.0))
    pushed(room, "state", event(7, 7.0))
    found = offline(room, 8, 9.9, 10, 12)
    assert found["recent:count_8m"][::3] == [0.0, 0.0, 1.0, 1.0]
    assert np.isnan(found["state:x"][::3]).tolist() == [True, True, False, False]


def test_an_event_that_its_dataset_has_too_is_one_event(tmp_path):
    room = at(room_at(tmp_path), 10)
    pushed(room, "recent", event(9, 1.0), event(9.5, 2.0))
    room.put(events=table([event(9, 1.0)], **SCHEMA))
    assert offline(room, 10)["recent:count_8m"][0] == 2.0
    room.materialise("recent", minute(10))
    assert online(room, 10)["recent:count_8m"][0] == 2.0


def test_a_row_of_the_future_is_online_when_it_has_come(tmp_path):
    room = at(room_at(tmp_path), 10)
    pushed(room, "state", event(9, 1.0), event(11, 2.0))
    assert online(room, 10)["state:x"][0] == 1.0
    room.materialise("state", minute(11))
    assert online(at(room, 11), 11)["state:x"][0] == 2.0


def test_an_older_row_never_overwrites_a_newer_one(tmp_path, online_address):
    """P4, F14, on every online store."""
    room = at(room_at(tmp_path, rows=[event(1, 1.0)], online=online_address), 10)
    pushed(room, "state", event(9, 9.0))
    pushed(room, "state", event(5, 5.0))
    room.materialise("state", minute(10))
    assert online(room, 10)["state:x"][0] == 9.0
    np.testing.assert_equal(offline(room, 10)["state:x"], online(room, 10)["state:x"])


OPERATIONS = st.one_of(
    st.tuples(
        st.sampled_from(["push", "insert"]),
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.integers(-9, 1), st.none() | st.integers(-9, 9).map(float)),
            max_size=4,
            unique_by=lambda row: row[:2],
        ),
    ),
    st.sampled_from([("compute", None), ("materialise", None)]),
)


@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, min_size=3, max_size=10))
def test_whatever_was_pushed_inserted_computed_and_materialised_online_is_offline(tmp_path_factory, operations):
    """P4 and P5: late and corrected rows of the dataset and of pushes among them."""
    room = room_at(tmp_path_factory.mktemp("pushes"))
    rows: dict[tuple, dict] = {}
    for moment, (what, told) in enumerate(operations, start=20):
        room = at(room, moment)
        made = [event(moment + back, x, name) for name, back, x in told or []]
        if what == "push" and made:
            for view in ("state", "recent"):
                pushed(room, view, *made)
        elif what == "insert":
            rows |= {(row["name"], row["event"]): row for row in made}
            both = table(list(rows.values()), **SCHEMA)
            room.put(rows=both, events=both)
        elif what == "compute":
            room.compute("state", "recent")
        elif what == "materialise":
            for view in ("state", "recent"):
                room.materialise(view, minute(moment))
    room = at(room, moment + 1)
    room.compute("state", "recent")
    for view in ("state", "recent"):
        room.materialise(view, minute(moment + 1))
    np.testing.assert_equal(online(room, moment + 1), offline(room, moment + 1))
    room.stores.close()


def test_pushes_of_many_threads_and_materialise_beside_them_lose_and_double_nothing(tmp_path, online_address):
    """F14, on every online store."""
    room = room_at(tmp_path, online=online_address)
    room = at(room, 50)
    failed: list[BaseException] = []

    def guarded(work) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def pushes(number: int) -> None:
        for step in range(8):
            pushed(room, "recent", event(45 + step / 2, number * 100.0 + step), event(46, number + step / 8, "b"))

    threads = [guarded(lambda n=n: pushes(n)) for n in range(3)]
    threads.append(guarded(lambda: [room.materialise("recent", minute(49 + n / 9)) for n in range(9)]))
    for thread in threads:
        thread.join()
    assert not failed
    found = online(room, 50)
    assert found["recent:count_8m"][:2] == [24.0, 24.0]
    np.testing.assert_equal(offline(room, 50)["recent:count_8m"], found["recent:count_8m"])


PUSH_FOREVER = """
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from carrara.features.pushes import push
from feature_room import minute, reopen

room = reopen(Path(sys.argv[1]))
stores = replace(room.stores, clock=lambda: minute(50))
for n in count():
    push(stores, room.view("recent"), room.entity("recent"), [{"name": "a", "event": minute(45), "x": float(n)}])
    print(n, flush=True)
"""


def test_a_push_that_was_killed_is_whole_after_the_next_update(tmp_path):
    """F13: what came into the log comes online, once; what did not is nowhere."""
    room_at(tmp_path).stores.close()
    for _ in range(3):
        process = Python(PUSH_FOREVER, str(tmp_path))
        for _ in range(4):
            process.stdout.readline()
        process.kill()
        process.communicate()
    room = at(reopen(tmp_path), 50)
    room.materialise("recent", minute(50))
    found = online(room, 50)
    assert found["recent:count_8m"][0] >= 12
    np.testing.assert_equal(offline(room, 50)["recent:count_8m"], found["recent:count_8m"])


@pytest.mark.parametrize(
    ("row", "error", "said"),
    [
        ({"name": "a", "x": 1.0}, ColumnMissing, "has no column 'event'"),
        ({"name": "a", "event": "2024-01-01T00:00:00", "x": 1.0}, TimeWithoutZone, "name no zone"),
        ({"name": "a", "event": "2024-01-01T00:00:00Z", "x": "red"}, ColumnTypeMismatch, "float64 was declared"),
        ({"name": 1.5, "event": "2024-01-01T00:00:00Z", "x": 1.0}, ColumnTypeMismatch, "a key of entity 'thing'"),
    ],
)
def test_rows_that_are_not_what_is_declared_are_refused_whole(tmp_path, row, error, said):
    room = room_at(tmp_path)
    with pytest.raises(error, match=said):
        pushed(room, "state", row)
    assert room.stores.lake.newest("pushes/state") is None


def test_two_rows_of_one_key_and_time_are_refused(tmp_path):
    with pytest.raises(DataError, match="several rows for one key and time"):
        pushed(room_at(tmp_path), "state", event(1, 1.0), event(1, 2.0))


def test_frames_of_other_libraries_mappings_and_files_are_pushed_alike(tmp_path):
    room = at(room_at(tmp_path), 10)
    frame = table([event(9, 9.0)], **SCHEMA)
    frame.with_columns(pl.col("event").dt.to_string("iso:strict")).write_csv(tmp_path / "pushed.csv")
    text = {"name": "c", "event": "2024-01-01T02:09:00+02:00", "x": None}
    kinds = (frame, frame.to_pandas(), frame.to_arrow(), "pushed.csv", tmp_path / "pushed.csv", [text], text)
    for moment, rows in enumerate(kinds, start=10):
        done = push(at(room, moment / 1000 + 10).stores, room.view("recent"), room.entity("recent"), rows)
        assert done == Pushed("recent", 1, 1)
    room = at(room, 10.5)
    assert online(room, 10.5)["recent:count_8m"] == [5.0, 0.0, 2.0]
