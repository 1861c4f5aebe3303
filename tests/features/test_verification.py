"""Verification finds every value that is online and should not be, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, table

from carrara.core.errors import DataError
from carrara.features.entities import key_bytes
from carrara.features.online import online_table
from carrara.features.packing import RowLayout, pack_events, unpack_events
from carrara.features.pushes import push
from carrara.features.verification import verify
from carrara.features.windows import Events
from commands import carrara

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name",))
rows = carrara.Dataset("rows", source="rows.parquet")
state = carrara.FeatureView("state", entity="thing", source="rows", event_time="event", sql="SELECT * FROM rows",
    features={"x": "float64", "colour": "string"})
recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="event",
    aggregations=(carrara.total("x", windows=("30m",)),))
"""
SCHEMA = {"name": pl.String(), "event": UTC_TIME, "x": pl.Float64(), "colour": pl.String()}


@pytest.fixture
def room(tmp_path) -> Room:
    rows = [{"name": f"n{n}", "event": minute(n), "x": n / 2 if n % 3 else None, "colour": "red"} for n in range(20)]
    room = open_room(tmp_path, DEFINITIONS, rows=table(rows, **SCHEMA))
    room.compute("state", "recent")
    for view in ("state", "recent"):
        room.materialise(view, minute(15))
    return room


def change(room: Room, view: str, name: str, row) -> None:
    """Write over what is online of an entity, as a bug or a person would."""
    stored, keys = online_table(room.view(view), room.entity(view)), key_bytes({"name": [name]}, ("name",))
    before = room.stores.online.read(stored, keys)
    assert room.stores.online.swap(stored, keys, before, [row(before[0])]) == []


def verified(room: Room, view: str):
    return verify(room.stores, room.view(view), room.entity(view))


def test_what_was_materialised_is_as_it_should_be(room):
    for view in ("state", "recent"):
        found = verified(room, view)
        assert (found.entities, found.mismatches) == (16, ())


def test_one_changed_value_is_named_with_its_feature_and_entity(room):
    place = RowLayout.of(room.view("state")).fixed - 8
    change(room, "state", "n4", lambda row: row[:place] + np.float64(99.0).tobytes() + row[place + 8 :])
    (found,) = verified(room, "state").mismatches
    assert (found.feature, found.key, found.online, found.expected) == ("state:x", {"name": "n4"}, 99.0, 2.0)
    change(room, "state", "n5", lambda row: row.replace(b"red", b"rad"))
    assert [(one.feature, one.online) for one in verified(room, "state").mismatches][1:] == [("state:colour", "rad")]


def test_a_row_that_is_gone_and_events_that_were_added_are_named(room):
    change(room, "state", "n4", lambda row: None)
    assert {one.key["name"] for one in verified(room, "state").mismatches} == {"n4"}

    def doubled(row: bytes) -> bytes:
        events = unpack_events(("x",), [row])
        again = [np.concatenate([part, part]) for part in (events.codes, events.times, events.known)]
        (packed,) = pack_events(Events(*again, {"x": np.concatenate([events.columns["x"]] * 2)}), 1)
        assert packed is not None
        return packed

    change(room, "recent", "n5", doubled)
    (found,) = verified(room, "recent").mismatches
    assert (found.feature, found.online, found.expected) == ("recent:x_sum_30m", 5.0, 2.5)
    room.materialise("recent", minute(15), rebuild=True)
    assert verified(room, "recent").mismatches == ()


def test_what_was_pushed_since_is_no_mismatch(room):
    row = {"name": "n4", "event": minute(16), "x": 7.0, "colour": "blue"}
    push(room.stores, room.view("state"), room.entity("state"), [row])
    push(room.stores, room.view("recent"), room.entity("recent"), [row])
    assert verified(room, "state").mismatches == verified(room, "recent").mismatches == ()


def test_a_view_that_was_never_materialised_is_said(tmp_path):
    with pytest.raises(DataError, match=r"(?s)never materialised.*carrara feature materialise state"):
        verified(open_room(tmp_path, DEFINITIONS, rows=table([], **SCHEMA)), "state")


def run(*command: str, folder: Path) -> CompletedProcess[str]:
    return carrara("feature", *command, "-w", folder, cwd=folder)


def test_the_command_ends_with_three_where_something_differs(room, tmp_path):
    change(room, "state", "n4", lambda row: None)
    room.stores.close()
    found = run("verify", "state", "--json", folder=tmp_path)
    assert found.returncode == 3
    assert {one["key"]["name"] for one in json.loads(found.stdout)[0]["mismatches"]} == {"n4"}
    assert "n4" in run("verify", "state", folder=tmp_path).stdout
    assert run("verify", "recent", folder=tmp_path).returncode == 0


def test_labels_of_a_file_are_joined_on_the_command_line(room, tmp_path):
    room.stores.close()
    times = ["2024-01-01T00:03:00Z", "2024-01-01T00:04:00Z", "2024-01-01T00:04:00Z"]
    pl.DataFrame({"name": ["n4", "n4", "nobody"], "at": times}).write_csv(tmp_path / "labels.csv")
    command = ["join", "state", "recent:x_sum_30m", "--labels", "labels.csv", "--time", "at", "--output", "out.parquet"]
    done = run(*command, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["state:x"].to_list() == [None, 2.0, None]
    assert found["state:colour"].to_list() == [None, "red", None]
    assert found["recent:x_sum_30m"].to_list() == [None, 2.0, None]
    assert run("join", "state", "--labels", "rows", "--time", "event", "-o", "o.csv", folder=tmp_path).returncode == 0
    wrong = run("join", "stat", "--labels", "rows", "--time", "event", "-o", "o.csv", folder=tmp_path)
    assert (wrong.returncode, "Did you mean 'state'" in wrong.stderr) == (1, True)
