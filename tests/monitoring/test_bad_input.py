"""What monitoring meets in the wild: floods, wrong clocks, slow disks, two of it at once (F43 to F46)."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from served import log_trips, trips_between
from test_prediction_log import predictions

from carrara.metadata.prediction_losses import list_losses
from carrara.monitoring import prediction_log, run
from carrara.monitoring.alert import alert
from carrara.monitoring.domain import domain_shift
from carrara.monitoring.drift import ReferenceDistribution, drift_of
from carrara.monitoring.effect import moved_to
from carrara.monitoring.journal import Journal
from carrara.monitoring.live import read_monitor
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.notify.file import ToFile
from carrara.monitoring.prediction_log import PredictionLog, read_log
from carrara.monitoring.profile import Profile, profile_rows, profile_table
from carrara.monitoring.run import run_monitor
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(workspace: Workspace, moment: datetime) -> Workspace:
    return Workspace(workspace.root, clock=lambda: moment)


def test_a_flood_of_new_categories_is_seen_and_stays_small():
    cities = np.array(["Ulm", "Bonn", "Graz"] * 1_000, object)
    reference = {"city": ReferenceDistribution.from_values(cities)}
    flood = (pl.DataFrame({"city": [f"{batch}-{n}" for n in range(50_000)]}) for batch in range(8))
    profile = profile_rows(flood, reference)
    drift = drift_of("city", reference["city"].counts, profile.columns["city"].counts)
    assert drift.psi > 1
    assert drift.rows == 400_000
    assert profile.columns["city"].counts.tolist() == [0, 0, 0, 400_000, 0]
    assert profile.columns["city"].texts.counts.height <= 10_000
    kept = json.dumps(profile.as_dict())
    assert len(kept) < 500_000
    assert len(Profile.from_dict(json.loads(kept)).columns["city"].distribution().categories) <= 50


def test_a_table_of_many_columns_has_the_profile_that_its_columns_have_by_themselves(tmp_path):
    random = np.random.default_rng(0)
    wide = pl.DataFrame({f"f{n}": random.normal(n, 1.0, 3_000) for n in range(150)})
    references = {name: ReferenceDistribution.from_values(wide[name].head(500).to_numpy()) for name in wide.columns}
    for part in range(3):
        wide.slice(1_000 * part, 1_000).write_parquet(tmp_path / f"{part}.parquet")
    found = profile_table(pl.scan_parquet(tmp_path), wide.columns, references)
    assert found.as_dict() == profile_rows([wide], references).as_dict()


def test_a_flood_of_new_categories_is_moved_to_and_told_apart():
    training = pl.DataFrame({"city": ["Ulm", "Bonn"] * 1_000, "rows": np.arange(2_000.0)})
    flood = training.with_columns(city=pl.Series([f"c{n}" for n in range(2_000)]))
    moved = moved_to(training["city"], flood["city"], np.random.default_rng(0))
    assert not set(moved) & {"Ulm", "Bonn"}
    shift = domain_shift(training, flood, ("city", "rows"))
    assert shift.is_seen
    assert shift.features[0][0] == "city"


def test_of_clocks_that_are_an_hour_off_each_prediction_counts_once_where_it_says(trained):
    """A client's clock is its own: its event time is believed, and a window that is not over is not judged."""
    trips = trips_between(trained, FROM, FROM + 2 * DAY)
    log_trips(trained, trips)
    behind = trips["at"].min()
    with at(trained, FROM + 2 * DAY - HOUR) as early:
        ran = run_monitor(early.stores, Monitor("late", alerts=(alert("predictions > 0"),)), early.models.get("late"))
        assert len(ran.computed) == 2
        windows = early.monitoring.show("late", window="1d").windows
    assert sum(window.predictions for window in windows) == trips.height
    assert [window.state for window in windows] == ["complete", "open"]
    assert windows[1].health == "unknown"
    assert [state.window_end for _, state in ran.begun] == [FROM + DAY]
    assert windows[0].start <= behind < windows[0].end


def test_a_client_in_another_century_hides_no_window_of_the_others(trained):
    trips = trips_between(trained, FROM, FROM + DAY)
    log_trips(trained, trips)
    log_trips(trained, trips.head(1).with_columns(at=pl.lit(datetime(2099, 1, 1)).cast(trips["at"].dtype)))
    with at(trained, FROM + 3 * DAY) as later:
        ran = run_monitor(later.stores, Monitor("late"), later.models.get("late"))
        assert FROM in [key.start for key in ran.computed]
        states = {window.start: window.state for window in later.monitoring.show("late", window="1d").windows}
    assert states[FROM] == "complete"
    assert states[datetime(2099, 1, 1, tzinfo=UTC)] == "open"


def test_a_disk_that_stands_still_fills_the_buffer_and_then_what_is_dropped_is_counted(fresh, monkeypatch):
    goes_on, append = threading.Event(), Journal.append

    def slow(self, table, rows, data, *, of):
        goes_on.wait()
        append(self, table, rows, data, of=of)

    monkeypatch.setattr(Journal, "append", slow)
    monkeypatch.setattr(prediction_log, "_BUFFERED_ROWS", 50_000)
    log = PredictionLog(fresh.stores, flush_seconds=0.01, ship_seconds=60.0)
    batch = predictions(1_000)
    for _ in range(120):
        log.append(batch)
    assert sum(len(one.ids) for one in log._waiting) <= 50_000
    assert log.dropped >= 60_000
    goes_on.set()
    log.close()
    assert log.written + log.dropped == 120_000
    assert sum(loss.rows for loss in list_losses(fresh.stores.metadata)) == log.dropped
    assert read_log(fresh.stores, "m").height == 1_000


def test_two_monitors_at_once_let_an_alert_begin_once(trained):
    log_trips(trained, trips_between(trained, FROM, FROM + 2 * DAY))
    monitor = Monitor("late", alerts=(alert("predictions > 0", then="retrain"),), notify=(ToFile("told.jsonl"),))
    begun, together = [], threading.Barrier(3)

    def run() -> None:
        with at(trained, FROM + 5 * DAY) as later:
            together.wait()
            begun.extend(run_monitor(later.stores, monitor, later.models.get("late")).begun)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = (trained.root / "told.jsonl").read_text()
    with at(trained, FROM + 5 * DAY) as later:
        begun.extend(run_monitor(later.stores, monitor, later.models.get("late")).begun)
    assert [found.rule for found, _ in begun] == ["predictions > 0"]
    # Those that tell at the same moment may each tell it, for it is told at least once; later ones do not.
    assert 1 <= told.count('"firing"') <= 3
    assert (trained.root / "told.jsonl").read_text() == told


class Killed(BaseException):
    """What no code of a monitor catches, as it catches no SIGKILL."""


STEPS = ("move_alerts", "claim_window", "compute_window", "finish_window", "record_span")


@pytest.mark.slow
def test_a_monitor_that_is_killed_at_any_step_is_gone_on_with_and_tells_once(trained, monkeypatch):
    """F46: whatever was done before, the next one computes what is missing, and an alert is one message."""
    monitor = Monitor("late", alerts=(alert("predictions > 0"),), notify=(ToFile("told.jsonl"),))
    for day, step in enumerate(STEPS):
        log_trips(trained, trips_between(trained, FROM + day * DAY, FROM + (day + 1) * DAY))

        def killed(*given, **named):
            raise Killed

        moment = FROM + (day + 1) * DAY
        with at(trained, moment) as now, monkeypatch.context() as patched:
            patched.setattr(run, step, killed)
            with pytest.raises(Killed):
                run_monitor(now.stores, monitor, now.models.get("late"))
        with at(trained, moment + run.LEASE) as later:
            run_monitor(later.stores, monitor, later.models.get("late"))
            again = run_monitor(later.stores, monitor, later.models.get("late"))
            report = read_monitor(later.stores, monitor, later.models.get("late"))
        assert (again.computed, again.failed) == ((), ())
        assert [one.state for one in report.windows] == ["complete"] * (day + 1)
        assert report.predictions == sum(one.predictions for one in report.windows)
    (message,) = (trained.root / "told.jsonl").read_text().splitlines()
    assert '"firing"' in message
