"""The scheduler: what is due is done, once, by one; what was missed is caught up; what came late is picked up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from carrara.core.clock import now
from carrara.metadata.intervals import Claim, claim, list_intervals
from carrara.metadata.runs import list_runs
from carrara.pipelines.scheduler import KIND, due, run_due
from carrara.workspace.workspace import Workspace
from commands import carrara
from forked import Python

DAY = timedelta(days=1)
START = datetime(2024, 1, 10, 12, tzinfo=UTC)
DEFINITIONS = """
import carrara

thing = carrara.Entity("thing", keys=("name",))
rows = carrara.Dataset("rows", source="rows.parquet")
state = carrara.FeatureView("state", entity="thing", source="rows", event_time="event", features={"x": "float64"},
    schedule="@daily", sql="SELECT * FROM rows")
recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="event", schedule="@daily",
    aggregations=(carrara.total("x", windows=("90d",)),))
unscheduled = carrara.FeatureView("unscheduled", entity="thing", source="rows", event_time="event",
    features={"x": "float64"}, sql="SELECT * FROM rows")
"""


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


def put(folder: Path, *rows: tuple[str, datetime, float]) -> None:
    frame = pl.DataFrame(list(rows), schema=["name", "event", "x"], orient="row")
    frame.with_columns(pl.col("event").cast(pl.Datetime("us", "UTC"))).write_parquet(folder / "rows.parquet")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "carrara.toml").write_text("")
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    put(tmp_path, ("a", START - 2 * DAY, 1.0))
    return tmp_path


@pytest.fixture
def ws(folder):
    with Workspace(folder, clock=Clock()) as workspace:
        yield workspace


def served(ws: Workspace) -> tuple[float, float]:
    found = ws.features.get(["state", "recent"], [{"name": "a"}])
    return found["state:x"][0], found["recent:x_sum_90d"][0]


def test_a_view_is_brought_up_to_date_at_its_moment_and_once(ws):
    done = ws.run_due()
    midnight = START.replace(hour=0)
    assert [(one.name, one.moments, one.error) for one in done] == [
        ("state", (midnight,), None),
        ("recent", (midnight,), None),
    ]
    assert served(ws) == (1.0, 1.0)
    assert ws.run_due() == []
    ws.clock.time += DAY / 2
    assert {one.moments for one in ws.run_due()} == {(midnight + DAY,)}
    assert ws.run_due() == []


def test_missed_intervals_are_caught_up_by_one_run_and_each_is_recorded(ws, folder):
    ws.run_due()
    ws.clock.time += 4 * DAY
    put(folder, ("a", START - 2 * DAY, 1.0), ("a", START + 2 * DAY, 5.0), ("a", START + 4 * DAY, 9.0))
    done = ws.run_due()
    assert [len(one.moments) for one in done] == [4, 4]
    assert served(ws) == (5.0, 6.0)
    states = [one.state for one in list_intervals(ws.stores.metadata, KIND, "state")]
    assert states == ["complete"] * 5
    assert len([run for run in list_runs(ws.stores.metadata, "schedule") if run.name == "state"]) == 2


def test_late_and_corrected_rows_are_picked_up_by_the_next_run(ws, folder):
    put(folder, ("a", START - 2 * DAY, 1.0), ("a", START - 1 * DAY, 2.0))
    ws.run_due()
    assert served(ws) == (2.0, 3.0)
    put(folder, ("a", START - 3 * DAY, 0.5), ("a", START - 2 * DAY, 1.0), ("a", START - 1 * DAY, 2.5))
    ws.clock.time += DAY
    ws.run_due()
    assert served(ws) == (2.5, 4.0)


def test_a_failure_is_told_waits_and_is_tried_again_and_the_others_go_on(ws, folder):
    text = (folder / "definitions.py").read_text()
    (folder / "definitions.py").write_text(text.replace("SELECT * FROM rows", "SELECT nothing FROM rows", 1))
    with Workspace(folder, clock=ws.clock) as broken:
        failed, fine = broken.run_due()
        assert "nothing" in failed.error
        assert fine.error is None
        assert due(broken.stores, broken.definitions.get("feature view", "state", object), ws.clock()) == ()
        status = {one.view: one for one in broken.features.status()}
        assert (status["state"].state, status["state"].last_state) == ("absent", "failed")
        assert "nothing" in status["state"].error
    (folder / "definitions.py").write_text(text)
    assert ws.run_due() == []
    ws.clock.time += timedelta(minutes=2)
    assert [one.error for one in ws.run_due()] == [None]
    assert served(ws) == (1.0, 1.0)


def test_a_dataset_that_cannot_be_read_fails_every_view_of_it_and_is_tried_once_a_round(ws, folder):
    (folder / "rows.parquet").unlink()
    done = ws.run_due()
    assert len({one.error for one in done}) == 1
    assert "rows.parquet" in done[0].error


def test_status_says_what_is_fresh_stale_absent_and_due(ws, folder):
    assert {one.view: one.state for one in ws.features.status()} == dict.fromkeys(
        ("state", "recent", "unscheduled"), "absent"
    )
    ws.run_due()
    ws.features.compute("unscheduled")
    ws.features.materialise("unscheduled")
    status = {one.view: one for one in ws.features.status()}
    assert {one.state for one in status.values()} == {"fresh"}
    assert status["state"].next_run == START.replace(hour=0) + DAY
    assert status["state"].age_seconds == DAY.total_seconds() / 2
    assert (status["unscheduled"].schedule, status["unscheduled"].next_run) == (None, None)
    ws.clock.time += 3 * DAY
    status = {one.view: one for one in ws.features.status()}
    assert (status["state"].state, status["state"].intervals_due) == ("stale", 3)
    put(folder, ("a", START, 3.0))
    ws.features.compute("unscheduled")
    assert ws.features.status("unscheduled")[0].state == "stale"


def test_two_schedulers_at_once_do_each_interval_once(folder):
    """P12, F46."""
    clock = Clock()
    workspaces = [Workspace(folder, clock=clock) for _ in range(2)]
    done: list = []
    for _ in range(4):
        # Each has read what is due before the other has claimed it, in one order or another.
        barrier = threading.Barrier(2)

        def work(workspace: Workspace, barrier=barrier) -> None:
            definitions = workspace.definitions
            barrier.wait()
            done.extend(run_due(workspace.stores, definitions))

        threads = [threading.Thread(target=work, args=(workspace,)) for workspace in workspaces[:1]]
        other = Python(ROUND, str(folder), clock.time.isoformat())
        threads[0].start()
        barrier.wait()
        threads[0].join()
        told = json.loads(other.communicate(timeout=60)[0])
        here, done[:] = [(one.name, moment) for one in done for moment in one.moments], []
        there = [(view, datetime.fromisoformat(moment)) for view, moments in told for moment in moments]
        assert sorted(here + there) == sorted(set(here + there))
        assert {view for view, _ in here + there} == {"state", "recent"}
        clock.time += 2 * DAY
    for workspace in workspaces:
        workspace.close()


ROUND = """
import json, sys
from datetime import datetime
from carrara import Workspace

at = datetime.fromisoformat(sys.argv[2])
with Workspace(sys.argv[1], clock=lambda: at) as ws:
    print(json.dumps([(one.name, [m.isoformat() for m in one.moments]) for one in ws.run_due()]))
"""


def test_what_a_killed_scheduler_held_is_done_after_its_lease(ws):
    """F46."""
    moment = START.replace(hour=0)
    assert claim(ws.stores.metadata, Claim(KIND, "state", (moment,), "dead"), ws.clock(), timedelta(minutes=5))
    assert [one.name for one in ws.run_due()] == ["recent"]
    ws.clock.time += timedelta(minutes=5)
    assert [(one.name, one.moments) for one in ws.run_due()] == [("state", (moment,))]


def test_a_clock_that_jumps_over_moments_or_back_runs_none_twice(ws):
    """F46."""
    ws.run_due()
    ws.clock.time += 3 * DAY
    assert [len(one.moments) for one in ws.run_due()] == [3, 3]
    ws.clock.time -= 2 * DAY
    assert ws.run_due() == []
    ws.clock.time += 3 * DAY
    assert [len(one.moments) for one in ws.run_due()] == [1, 1]


def test_a_deployed_model_keeps_reading_its_own_definition_up_to_date(trained):
    """A view that is changed after a training is brought up to date for both, until nobody serves the former one."""
    path = trained.root / "definitions.py"
    path.write_text(path.read_text().replace('ttl="2d"', 'ttl="3d"'))
    entity = {"depot": "p1", "city": "c1", "driver": "d1", "distance": 3.0}
    with Workspace(trained.root, clock=lambda: datetime(2024, 1, 25, tzinfo=UTC)) as ws:
        ws.features.compute("depot_state")
        done = ws.features.materialise("depot_state")
        assert [one.view for one in done] == ["depot_state", "depot_state"]
        assert ws.features.get("late@1", [entity])["depot_state:load"][0] >= 0


def test_the_process_runs_until_it_is_told_to_stop_and_says_what_it_did(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "carrara", "scheduler", "--json", "-w", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [(one["name"], one["error"]) for one in told] == [("state", None), ("recent", None)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert carrara("scheduler", "--once", "-w", folder).stdout == ""
    found = json.loads(carrara("feature", "status", "--json", "-w", folder).stdout)
    assert [one["state"] for one in found] == ["fresh", "fresh", "absent"]
    assert datetime.fromisoformat(found[0]["next_run"]) > now()


def test_a_model_with_a_schedule_is_trained_when_there_is_something_new(fresh):
    text = (fresh.root / "definitions.py").read_text()
    (fresh.root / "definitions.py").write_text(
        text.replace('    "late",\n', '    "late",\n    schedule="@daily",\n', 1)
    )
    fresh.close()

    def at(day: int) -> Workspace:
        return Workspace(fresh.root, clock=lambda: datetime(2026, 5, day, 1, tzinfo=UTC))

    with at(1) as workspace:
        assert [(one.kind, one.name, one.error) for one in workspace.run_due()] == [("model", "late", None)]
        assert workspace.run_due() == []
        assert [version.version for version in workspace.models.versions()] == [1]
    with at(2) as workspace:
        assert [one.name for one in workspace.run_due()] == ["late"]
        assert [version.version for version in workspace.models.versions()] == [1]
    lines = (fresh.root / "trips.csv").read_text().splitlines(keepends=True)
    (fresh.root / "trips.csv").write_text("".join(lines[:-1]))
    with at(3) as workspace:
        assert [one.error for one in workspace.run_due()] == [None]
        assert [version.version for version in workspace.models.versions()] == [1, 2]
