"""Retention: what it says goes, nothing that is needed does, and a dry run leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from served import log_trips, trips_between
from sqlalchemy import select

from carrara.core.clock import now
from carrara.core.config import read_configuration
from carrara.core.errors import ConfigurationError, NotFoundError
from carrara.metadata.alerts import add_silence, move_alert
from carrara.metadata.monitor_windows import SPAN, WindowKey, claim_window, finish_window, list_windows, record_span
from carrara.metadata.run_metrics import LiveMetrics, read_metrics
from carrara.metadata.runs import get_run, run
from carrara.metadata.store import Metadata
from carrara.metadata.tables import audit
from carrara.monitoring.prediction_log import log_table
from carrara.storage.lake import Lake
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = datetime(2024, 2, 10, tzinfo=UTC)
YEAR_AFTER = datetime(2025, 2, 10, tzinfo=UTC)


@contextmanager
def at(workspace: Workspace, moment: datetime, retention: str) -> Iterator[Workspace]:
    (workspace.root / "carrara.toml").write_text(f"[retention]\n{retention}\n")
    with Workspace(workspace.root, clock=lambda: moment) as later:
        yield later


def logged(workspace: Workspace, days: int = 1) -> None:
    log_trips(workspace, trips_between(workspace, FROM, FROM + days * DAY), logged_at=(FROM + 4 * DAY).timestamp())


def computed(workspace: Workspace, days: int = 1) -> None:
    for day in range(days):
        key = WindowKey("late", 1, FROM + day * DAY, FROM + (day + 1) * DAY)
        claim_window(workspace.stores.metadata, key, "inputs", "me", workspace.clock(), DAY)
        finish_window(workspace.stores.metadata, key, "me", workspace.clock())


def rows_of(workspace: Workspace) -> int:
    return workspace.stores.lake.scan(log_table("late")).select(pl.len()).collect().item()


def audited(metadata: Metadata, action: str) -> list[dict]:
    with metadata.read() as connection:
        query = select(audit.c.object, audit.c.details).where(audit.c.action == action)
        return [{"object": row.object, **row.details} for row in connection.execute(query)]


def test_old_predictions_go_and_a_dry_run_only_says_so(trained):
    logged(trained)
    with at(trained, YEAR_AFTER, 'predictions = "180d"') as later:
        later.monitoring.measure("late", window="1d")
        before = (rows_of(later), len(later.access.audit()))
        said = later.collect_garbage(dry_run=True).as_dict()["expired"]
        assert said == [{"kind": "predictions", "of": "late", "count": before[0], "older_than": "180d", "stay": {}}]
        assert (rows_of(later), len(later.access.audit())) == before
        assert later.collect_garbage().as_dict()["expired"] == said
        assert rows_of(later) == 0
        assert [one["predictions"] for one in audited(later.stores.metadata, "expire predictions")] == [before[0]]
        assert later.collect_garbage().expired == ()


def test_predictions_stay_while_their_window_is_not_computed_or_their_outcomes_may_come(trained):
    logged(trained)
    with at(trained, YEAR_AFTER, 'predictions = "180d"') as later:
        (one,) = later.collect_garbage().expired
        assert one.count == 0
        assert [*one.stay] == ["their window is not computed yet: carrara monitor run"]
    with at(trained, LATER, 'predictions = "1d"') as soon:
        computed(soon)
        (one,) = soon.collect_garbage().expired
        assert (one.count, list(one.stay.values())) == (0, [rows_of(soon)])
        assert "the monitor waits 90d" in next(iter(one.stay))


def test_what_a_monitor_has_computed_on_a_replayed_clock_is_known_to_be_computed(trained):
    """Its clock is behind the one that stamps what is logged."""
    logged(trained)
    with at(trained, FROM + 2 * DAY, "") as replayed:
        replayed.monitoring.measure("late", window="1d")
    with at(trained, YEAR_AFTER, 'predictions = "180d"') as later:
        (one,) = later.collect_garbage(dry_run=True).expired
        assert (one.count, one.stay) == (rows_of(later), {})


def test_of_a_log_only_the_windows_go_that_nobody_logged_into_since(trained):
    logged(trained)
    log_trips(trained, trips_between(trained, FROM + DAY, FROM + 2 * DAY), logged_at=YEAR_AFTER.timestamp() - 9)
    with at(trained, YEAR_AFTER, 'predictions = "180d"') as later:
        later.monitoring.measure("late", window="1d")
        late = rows_of(later)
        (one,) = later.collect_garbage().expired
        assert one.count + sum(one.stay.values()) == late
        left = later.stores.lake.scan(log_table("late")).collect()
        assert left.height == sum(one.stay.values()) > 0
        assert left["event_time"].min() >= FROM + DAY
        ran = later.monitoring.run("late")[0].ran[0]
        assert ran.computed == ran.failed == ()


def test_windows_stay_for_an_open_alert_a_silence_and_the_monitor(trained):
    logged(trained)
    with at(trained, YEAR_AFTER, 'windows = "180d"') as later:
        computed(later, days=3)
        together = WindowKey("late", 1, FROM, FROM + 3 * DAY)
        record_span(later.stores.metadata, together, YEAR_AFTER)
        metadata = later.stores.metadata

        def kept() -> list[datetime]:
            return [one.key.start for one in list_windows(metadata, "late") if one.state != SPAN]

        assert later.collect_garbage().expired[0].stay == {"the monitor still reads it": 3}
        later.stores.lake.delete_rows(log_table("late"), "version = 1")
        alert = {"windows": 1, "for_windows": 1, "window_end": FROM + 2 * DAY, "details": {}, "now": YEAR_AFTER}
        move_alert(metadata, "late", 1, "a rule", **alert)
        add_silence(metadata, "late", None, FROM + 2.5 * DAY, YEAR_AFTER + DAY, "known")
        (one,) = later.collect_garbage().expired
        assert (one.of, one.count) == ("late@1", 1)
        assert one.stay == {"an open alert names it": 1, "a silence that holds covers it": 1}
        assert kept() == [FROM + DAY, FROM + 2 * DAY]
        move_alert(metadata, "late", 1, "a rule", **{**alert, "windows": 0})
    with at(trained, YEAR_AFTER + 2 * DAY, 'windows = "180d"') as later:
        assert later.collect_garbage().expired[0].count == 3  # And what they were together.
        assert list_windows(later.stores.metadata) == []
        assert [one["windows"] for one in audited(later.stores.metadata, "expire windows")] == [1, 3]


def test_a_run_goes_with_its_log_and_metrics_unless_a_version_is_of_it(trained):
    metadata = trained.stores.metadata
    with run(metadata, "train", "late", {}) as old, run(metadata, "train", "late", {}) as running:
        live = LiveMetrics(metadata, old)
        live.add("loss", 1, 0.5)
        live.flush()
    log = trained.root / ".carrara" / "runs" / f"{old}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("a step")
    made = trained.models.get("late@1").run_id
    moment, later = now(), now() + 200 * DAY
    with at(trained, moment, 'runs = "180d"') as soon:
        assert soon.collect_garbage().expired == ()
    with at(trained, later, 'runs = "180d"') as ws, run(metadata, "train", "late", {}) as running:
        dry = ws.collect_garbage(dry_run=True).expired
        assert ws.run(old).id == old
        assert log.exists()
        assert ws.collect_garbage().expired == dry
        with pytest.raises(NotFoundError):
            ws.run(old)
        assert (read_metrics(metadata, old), log.exists()) == ({}, False)
        assert {ws.run(made).id, ws.run(running).id} == {made, running}
        assert old in audited(metadata, "expire runs")[0]["runs"]
        assert ws.train("late").reused


@pytest.mark.parametrize("place", ["retention.before-predictions", "retention.before-logs"])
def test_what_a_crash_has_left_goes_the_next_time(trained, monkeypatch, place):
    logged(trained)
    with run(trained.stores.metadata, "train", "late", {}) as old:
        pass
    log = trained.root / ".carrara" / "runs" / f"{old}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("a step")
    with at(trained, now() + 200 * DAY, 'runs = "180d"\npredictions = "180d"') as later:
        computed(later)
        monkeypatch.setenv("CARRARA_FAILPOINTS", f"{place}=raise")
        with pytest.raises(OSError, match=place):
            later.collect_garbage()
        monkeypatch.delenv("CARRARA_FAILPOINTS")
        assert log.exists()
        later.collect_garbage()
        assert (rows_of(later), log.exists()) == (0, False)
        with pytest.raises(NotFoundError):
            later.run(old)


def test_what_is_not_named_is_kept_for_ever(trained):
    logged(trained)
    with at(trained, now() + 9_000 * DAY, "") as later:
        before = rows_of(later)
        assert later.collect_garbage().expired == ()
        assert rows_of(later) == before
        assert get_run(later.stores.metadata, later.models.get("late@1").run_id)


@pytest.mark.parametrize(
    ("text", "says"),
    [("1y", "'1y' is not a duration"), ("0d", "keeps nothing")],
)
def test_a_time_that_is_none_is_refused_by_its_key(tmp_path, text, says):
    (tmp_path / "carrara.toml").write_text(f'[retention]\nruns = "{text}"\n')
    with pytest.raises(ConfigurationError, match=says) as refused:
        read_configuration(tmp_path)
    assert "[retention] runs" in str(refused.value)


def test_the_files_of_deleted_rows_go_when_nobody_has_had_them_for_a_while(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    for first in (0, 10):
        lake.append("predictions/late", pl.DataFrame({"x": range(first, first + 10)}))
    assert lake.tables("predictions") == ["predictions/late"]
    assert lake.delete_rows("predictions/late", "x < 15") == 15
    assert lake.scan("predictions/late").collect()["x"].to_list() == [15, 16, 17, 18, 19]
    assert lake.remove_old_files("predictions/late") == 0
    assert lake.scan("predictions/late", 2).collect().height == 20
    assert lake.remove_old_files("predictions/late", grace=timedelta(0)) == 2
    assert len(list(lake.folder("predictions/late").glob("*.parquet"))) == 1
