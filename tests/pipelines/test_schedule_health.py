"""F46: health turns red when the oldest of what is due grows old, and never says that all is well of what never ran."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from test_scheduler import DAY, START, Clock, folder  # noqa: F401  # the fixture
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.metadata.intervals import Claim, claim
from carrara.pipelines.schedule_health import measure_schedules
from carrara.pipelines.scheduler import KIND
from carrara.workspace.workspace import Workspace


@pytest.fixture
def ws(folder):  # noqa: F811
    with Workspace(folder, clock=Clock()) as workspace:
        yield workspace


def healths(ws: Workspace) -> dict[str, str]:
    return {one.name: one.health for one in ws.schedule_health()}


def due_since(name: str) -> float | None:
    return REGISTRY.get_sample_value("carrara_schedule_due_since_seconds", {"kind": KIND, "name": name})


def test_what_is_due_and_nobody_does_turns_red_as_it_ages(ws):
    assert healths(ws) == {"state": "unknown", "recent": "unknown"}
    ws.run_due()
    assert healths(ws) == {"state": "ok", "recent": "ok"}
    ws.clock.time = START.replace(hour=0) + DAY + timedelta(minutes=4)
    assert healths(ws) == {"state": "ok", "recent": "ok"}
    ws.clock.time += timedelta(minutes=2)
    assert healths(ws) == {"state": "late", "recent": "late"}
    measure_schedules(ws.stores, ws.definitions)
    assert due_since("state") == (START.replace(hour=0) + DAY).timestamp()
    ws.run_due()
    measure_schedules(ws.stores, ws.definitions)
    assert healths(ws) == {"state": "ok", "recent": "ok"}
    assert due_since("state") is None


def test_what_a_living_scheduler_does_is_not_late_and_what_a_dead_one_held_is(ws):
    ws.run_due()
    ws.clock.time = START.replace(hour=0) + DAY + timedelta(minutes=10)
    held = Claim(KIND, "state", (START.replace(hour=0) + DAY,), "somebody")
    assert claim(ws.stores.metadata, held, ws.clock(), timedelta(minutes=5))
    assert healths(ws) == {"recent": "late", "state": "ok"}
    ws.clock.time += timedelta(minutes=5)
    assert healths(ws) == {"recent": "late", "state": "late"}


def test_a_failure_is_red_at_once_and_the_command_says_so(ws, folder):  # noqa: F811
    (folder / "rows.parquet").unlink()
    ws.run_due()
    red = ws.schedule_health()[0]
    assert (red.health, red.due) == ("failing", 1)
    assert "rows.parquet" in red.error
    told = CliRunner().invoke(app, ["scheduler", "--health", "-w", str(folder)])
    assert told.exit_code == 3
    assert "failing" in told.output
