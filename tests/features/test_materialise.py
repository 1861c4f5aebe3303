"""Materialise: the same online state however often it runs, wherever it dies, and whoever runs beside it."""

from __future__ import annotations

import random
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, known_row, minute, open_room, raw_rows, reopen, table, window_value
from hypothesis import HealthCheck, given, settings, strategies as st

from carrara.core.errors import DataError
from carrara.features.entities import key_bytes
from carrara.features.materialise import online_table
from forked import Python

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
rows = carrara.Dataset("rows", source="rows.parquet")
events = carrara.Dataset("events", source="events.parquet")


@carrara.feature_view(entity="thing", source="rows", event_time="event", created_time="created", features={"x": "float64"})
def state(rows):
    return rows


recent = carrara.AggregateView("recent", entity="thing", source="events", event_time="event", aggregations=(
    carrara.count(windows=("3m", "8m")), carrara.total("x", windows=("8m",)), carrara.last("x", windows=("5m",))
))
"""  # noqa: E501
SCHEMA = {"name": pl.String(), "number": pl.Int64(), "event": UTC_TIME, "created": UTC_TIME, "x": pl.Float64()}
KEYS = [{"name": name, "number": number} for name in ("a", "b", "") for number in (1, -2)]
MOMENTS = st.integers(0, 30).map(minute)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "", None]),
            "number": st.sampled_from([1, -2]),
            "event": MOMENTS,
            "created": MOMENTS,
            "x": st.none() | st.sampled_from([np.nan, np.inf, -np.inf]) | st.integers(-9999, 9999).map(lambda n: n / 8),
        }
    ),
    max_size=30,
    unique_by=lambda row: (row["name"], row["number"], row["event"], row["created"]),
)


def row(event: float, x: float, *, created: float | None = None, name: str = "a", number: int = 1) -> dict:
    known = event if created is None else created
    return {"name": name, "number": number, "event": minute(event), "created": minute(known), "x": x}


def filled(folder: Path, rows: list[dict], events: list[dict] = (), definitions: str = DEFINITIONS) -> Room:
    """A room in which these rows and events are computed, and nothing is online."""
    room = open_room(folder, definitions, rows=table(rows, **SCHEMA), events=table(list(events), **SCHEMA))
    room.compute("state", "recent")
    return room


def stored(room: Room, view: str, table: str = "") -> list[bytes | None]:
    """The bytes of every entity of the tests, in the view's table or in the one that is named."""
    keys = {name: [key[name] for key in KEYS] for name in ("name", "number")}
    named = table or online_table(room.view(view), room.entity(view))
    return room.stores.online.read(named, key_bytes(keys, ("name", "number")))


def served(room: Room, at: float) -> dict[str, list[float]]:
    labels = table([{**key, "at": minute(at)} for key in KEYS])
    return {name: values.tolist() for name, values in room.online(labels, "state", "recent").items()}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Room, Room]:
    """The same lake with two online stores: one that grows, one that is made from nothing each time."""
    room = filled(tmp_path_factory.mktemp("materialise"), [])
    return room, Room(replace(room.stores, online_address="lmdb:.carrara/scratch"), room.definitions)


@settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, events=ROWS, cuts=st.lists(st.integers(0, 35), min_size=1, max_size=5).map(sorted))
def test_growing_in_steps_is_the_same_as_from_nothing_at_every_cut(rooms, rows, events, cuts):
    """P4, and P5 at each cut: what is served is what the rows that were known by then say."""
    growing, scratch = rooms
    growing.put(rows=table(rows, **SCHEMA), events=table(events, **SCHEMA))
    growing.compute("state", "recent")
    for view in ("state", "recent"):
        growing.materialise(view, minute(-1), rebuild=True)
    for cut in cuts:
        for view in ("state", "recent"):
            growing.materialise(view, minute(cut))
            scratch.materialise(view, minute(cut), rebuild=True)
        assert stored(growing, "state") == stored(scratch, "state")
        for at in (cut, cut + 2.5, cut + 50):
            np.testing.assert_equal(served(growing, at), served(scratch, at))
        judged(growing, cut, rows, events)


def judged(room: Room, cut: int, rows: list[dict], events: list[dict]) -> None:
    found, view = served(room, cut), room.view("recent")
    for place, key in enumerate(KEYS):
        newest = known_row(rows, key, minute(cut))
        expected = np.nan if newest is None or newest["x"] is None else newest["x"]
        np.testing.assert_equal(found["state:x"][place], expected)
        for feature in view.feature_types:
            expected = window_value(view, feature, events, key, minute(cut))
            np.testing.assert_allclose(found[f"recent:{feature}"][place], expected, rtol=1e-12)


def test_running_again_for_the_same_time_or_an_earlier_one_changes_nothing(tmp_path):
    """P4."""
    room = filled(tmp_path, [row(1, 1.0), row(4, 4.0)], [row(2, 2.0), row(5, 5.0)])
    for view in ("state", "recent"):
        room.materialise(view, minute(10))
    room.stores.close()
    before = raw_rows(tmp_path)
    room = reopen(tmp_path)
    for until in (10, 3, 10):
        for view in ("state", "recent"):
            assert room.materialise(view, minute(until)).entities == 0
    room.stores.close()
    assert raw_rows(tmp_path) == before
    assert len(before) == 4


def test_a_call_says_what_it_wrote_and_which_times_it_covers(tmp_path):
    room = filled(tmp_path, [row(1, 1.0), row(1, 2.0, number=-2), row(4, 4.0)])
    first, second = room.materialise("state", minute(2)), room.materialise("state", minute(9))
    assert (first.view, first.entities, first.since, first.until) == ("state", 2, None, minute(2))
    assert (second.entities, second.since, second.until) == (1, minute(2), minute(9))


def test_a_row_at_the_watermark_is_written_once_and_by_the_call_up_to_it(tmp_path):
    room = filled(tmp_path, [row(3, 3.0)], [row(3, 3.0)])
    just = 1 / 60_000_000
    for view in ("state", "recent"):
        assert room.materialise(view, minute(3 - just)).entities == 0
        assert room.materialise(view, minute(3)).entities == 1
        assert room.materialise(view, minute(3 + just)).entities == 0
    assert served(room, 3)["recent:count_3m"][0] == 1.0


def test_an_event_at_the_edge_of_the_longest_window_is_out_and_one_after_it_is_in(tmp_path):
    room = filled(tmp_path, [], [row(1, 1.0), row(1.5, 2.0)])
    room.materialise("recent", minute(9))
    assert served(room, 9)["recent:x_sum_8m"][0] == 2.0


def test_an_older_row_that_comes_late_never_overwrites_a_newer_one(tmp_path):
    """P4."""
    room = filled(tmp_path, [row(5, 5.0)])
    room.materialise("state", minute(10))
    room.put(rows=table([row(5, 5.0), row(2, 2.0, created=15)], **SCHEMA))
    room.compute("state")
    room.materialise("state", minute(20))
    assert served(room, 20)["state:x"][0] == 5.0


def test_an_older_row_never_overwrites_one_that_its_source_no_longer_has(tmp_path):
    """P4: a source that holds the last days only, and a late row of before."""
    room = filled(tmp_path, [row(5, 5.0), row(5, 6.0, number=-2)])
    room.materialise("state", minute(10))
    room.put(rows=table([row(2, 2.0, created=15), row(7, 7.0, created=16, number=-2)], **SCHEMA))
    room.compute("state")
    room.materialise("state", minute(20))
    assert served(room, 20)["state:x"][:2] == [5.0, 7.0]


def test_a_correction_of_the_newest_row_is_written(tmp_path):
    room = filled(tmp_path, [row(5, 5.0), row(5, 50.0, created=12)])
    room.materialise("state", minute(10))
    assert served(room, 10)["state:x"][0] == 5.0
    room.materialise("state", minute(20))
    assert served(room, 20)["state:x"][0] == 50.0


def test_rebuilding_takes_corrections_of_rows_that_were_written_already(tmp_path):
    room = filled(tmp_path, [row(5, 5.0)], [row(4, 4.0)])
    for view in ("state", "recent"):
        room.materialise(view, minute(10))
    room.put(rows=table([row(5, -5.0)], **SCHEMA), events=table([row(4, -4.0)], **SCHEMA))
    room.compute("state", "recent")
    for view in ("state", "recent"):
        room.materialise(view, minute(10), rebuild=True)
    found = served(room, 10)
    assert (found["state:x"][0], found["recent:x_sum_8m"][0]) == (-5.0, -4.0)


def test_an_empty_view_moves_its_watermark_and_serves_nothing(tmp_path):
    room = filled(tmp_path, [])
    for view in ("state", "recent"):
        assert room.materialise(view, minute(10)).entities == 0
    found = served(room, 10)
    assert np.isnan(found["state:x"]).all()
    assert found["recent:count_8m"] == [0.0] * len(KEYS)


def test_a_changed_view_starts_from_nothing_beside_the_former_one(tmp_path):
    room = filled(tmp_path, [row(1, 1.0)])
    room.materialise("state", minute(10))
    table_then, former = online_table(room.view("state"), room.entity("state")), stored(room, "state")
    room.stores.close()
    changed = open_room(tmp_path, DEFINITIONS.replace("return rows", 'return rows.with_columns(x=nw.col("x") * 2)'))
    changed.compute("state")
    assert stored(changed, "state") == [None] * len(KEYS)
    changed.materialise("state", minute(10))
    assert served(changed, 10)["state:x"][0] == 2.0
    assert former[0] is not None
    assert stored(changed, "state", table_then) == former


def test_other_keys_of_an_entity_start_from_nothing_too(tmp_path):
    room = filled(tmp_path, [row(1, 1.0)])
    room.materialise("state", minute(10))
    room.stores.close()
    changed = open_room(tmp_path, DEFINITIONS.replace('keys=("name", "number")', 'keys=("number",)'))
    changed.compute("state")
    changed.materialise("state", minute(10))
    labels = table([{"number": 1, "at": minute(10)}])
    assert changed.online(labels, "state")["state:x"].tolist() == [1.0]


def test_a_view_that_was_not_computed_is_named(tmp_path):
    room = open_room(tmp_path, DEFINITIONS, rows=table([], **SCHEMA), events=table([], **SCHEMA))
    with pytest.raises(DataError, match=r"(?s)feature view 'state' has not been computed.*carrara feature compute"):
        room.materialise("state", minute(1))


# Killed, and several at once: in processes of their own.

CUTS = (3, 7, 8, 15, 20, 30)
RUN = f"""
import os, signal, sys
from pathlib import Path
from feature_room import minute, reopen

room, die_at, seen = reopen(Path(sys.argv[1])), int(sys.argv[2]), 0


def trace(frame, event, argument):
    global seen
    if frame.f_code.co_name != "swap" or not frame.f_code.co_filename.endswith("lmdb.py"):
        return None
    seen += event == "line"
    if seen == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return trace


room.stores.online
print("ready", flush=True)
sys.settrace(trace)
for cut in {CUTS}:
    for view in ("recent", "state"):
        room.materialise(view, minute(cut))
sys.settrace(None)
room.stores.close()
print(seen, flush=True)
"""
NEVER = -1


def start(folder: Path, die_at: int = NEVER) -> Python:
    return Python(RUN, str(folder), str(die_at))


def finished(process: Python) -> int:
    """The number of lines that its writes ran."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(out.split()[-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[bytes, bytes], int]:
    """A folder with nothing online, the raw rows of a run that nothing disturbs, and how many lines its writes ran."""
    folder, draw = tmp_path_factory.mktemp("undisturbed"), np.random.default_rng(5)
    names, numbers = [f"n{n}" for n in draw.integers(0, 40, 3_000)], draw.integers(0, 5, 3_000)
    moments = draw.integers(0, 30 * 60, 3_000) / 60
    made = [row(m, float(m), name=n, number=int(k)) for n, k, m in zip(names, numbers, moments, strict=True)]
    unique = list({(r["name"], r["number"], r["event"]): r for r in made}.values())
    # A window longer than the whole run: an event that was written twice stays to be seen.
    filled(folder / "empty", unique, made, DEFINITIONS.replace('"8m"', '"1h"')).stores.close()
    shutil.copytree(folder / "empty", folder / "whole")
    lines = finished(start(folder / "whole"))
    return folder / "empty", raw_rows(folder / "whole"), lines


def test_killed_at_any_line_of_a_write_and_run_again_the_rows_are_the_same(undisturbed, tmp_path):
    """P4, F13: before, in and after the claim, the rows, and the completion of what was claimed; each run goes on from
    what the killed one left."""
    empty, expected, lines = undisturbed
    folder = tmp_path / "killed"
    shutil.copytree(empty, folder)
    first = lines // (2 * len(CUTS))
    for line in [*range(1, 13, 2), *random.Random(3).sample(range(13, first), 4), *range(first - 2, first + 2)]:
        process = start(folder, die_at=line)
        process.communicate(timeout=60)
        assert process.returncode == -9
    finished(start(folder))
    assert raw_rows(folder) == expected


def test_killed_at_any_moment_and_run_again_the_rows_are_the_same(undisturbed, tmp_path):
    """P4."""
    empty, expected, _ = undisturbed
    folder, draw = tmp_path / "killed", random.Random(21)
    shutil.copytree(empty, folder)
    killed = 0
    for _ in range(3):
        process = start(folder)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # The moment is the point: whatever the process is at, it ends there.
        threading.Event().wait(draw.uniform(0, 0.06))
        process.kill()
        process.communicate(timeout=60)
        killed += process.returncode == -9
    finished(start(folder))
    assert raw_rows(folder) == expected
    assert killed > 0


def test_two_processes_at_once_leave_the_rows_of_one(undisturbed, tmp_path):
    """P4."""
    empty, expected, _ = undisturbed
    shutil.copytree(empty, tmp_path / "both")
    for process in [start(tmp_path / "both") for _ in range(2)]:
        finished(process)
    assert raw_rows(tmp_path / "both") == expected


def test_threads_with_cuts_of_their_own_lose_no_row(rooms):
    """P4."""
    growing, scratch = rooms
    rows = [row(t, float(t), name=name) for t in range(30) for name in ("a", "b")]
    growing.put(rows=table(rows, **SCHEMA), events=table(rows, **SCHEMA))
    growing.compute("state", "recent")
    for view in ("state", "recent"):
        growing.materialise(view, minute(-1), rebuild=True)
        scratch.materialise(view, minute(30), rebuild=True)

    def work(step: int) -> None:
        for cut in (*range(step, 30, step), 30):
            for view in ("state", "recent"):
                growing.materialise(view, minute(cut))

    threads = [threading.Thread(target=work, args=(step,)) for step in (1, 2, 3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(growing, "state") == stored(scratch, "state")
    np.testing.assert_equal(served(growing, 30), served(scratch, 30))
