"""Windows: computed once, opened again for what came late, and never healthy when nobody looked (P11, F44, F45)."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from served import log_trips, trips_between
from sklearn.metrics import roc_auc_score

from carrara.core.errors import DataError
from carrara.monitoring.alert import alert
from carrara.monitoring.live import read_monitor
from carrara.monitoring.monitor import Monitor, window_of
from carrara.monitoring.run import run_monitor
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = datetime(2024, 2, 10, tzinfo=UTC)


def at(workspace: Workspace, moment: datetime) -> Workspace:
    return Workspace(workspace.root, clock=lambda: moment)


def test_windows_of_a_length_begin_at_the_same_moments_and_weeks_on_mondays():
    assert window_of(datetime(2024, 1, 24, 13, tzinfo=UTC), timedelta(days=7)) == FROM
    assert window_of(datetime(1969, 12, 31, 23, 59, tzinfo=UTC), DAY) == datetime(1969, 12, 31, tzinfo=UTC)


def test_live_metrics_are_those_of_the_evaluation_by_window(trained):
    trips = log_trips(trained, trips_between(trained, FROM, FROM + 3 * DAY))
    with at(trained, LATER) as later:
        report = later.monitoring.measure("late", window="1d")
        log = later.predictions("late").join(trips.select("prediction_id", "late"), on="prediction_id")
    assert [window.start for window in report.windows][:3] == [FROM, FROM + DAY, FROM + 2 * DAY]
    assert report.metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(log["late"], log["probability"]))
    first = log.filter(pl.col("event_time") < FROM + DAY)
    window = report.windows[0]
    assert window.metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(first["late"], first["probability"]))
    assert window.outcomes == window.predictions == first.height
    assert set(report.evaluation) == {"roc_auc", "pr_auc", "log_loss", "brier"} & set(report.evaluation)
    assert window.result["parity"]["different"] == 0
    assert window.result["parity"]["compared"] > 50


def test_before_outcomes_are_known_a_window_says_what_its_metrics_will_probably_be(trained):
    log_trips(trained, trips_between(trained, FROM, FROM + DAY))
    with at(trained, FROM - DAY) as early:
        report = early.monitoring.measure("late", window="1d")
        (window,) = report.windows
    assert (window.outcomes, window.metrics) == (0, None)
    estimated = window.result["estimated"]["roc_auc"]
    for shown in (report._repr_html_(), window._repr_html_()):
        assert "No outcome is known yet. By its answers alone" in shown
        assert f"{estimated['low']:.4g} – {estimated['high']:.4g}" in shown
    assert estimated["low"] < estimated["value"] < estimated["high"]
    assert set(window.result["estimated_worse"]) <= set(window.result["estimated"])


def test_outcomes_that_come_days_late_open_the_right_window_again(trained):
    trips = log_trips(trained, trips_between(trained, FROM, FROM + 2 * DAY))
    with at(trained, FROM + 2 * DAY + timedelta(minutes=1)) as early:
        ran = run_monitor(early.stores, Monitor("late"), early.models.get("late"))
        assert len(ran.computed) == 2
        known = early.monitoring.show("late").windows[1].outcomes
    assert known < trips.filter(pl.col("at") >= FROM + DAY).height
    with at(trained, LATER) as later:
        again = run_monitor(later.stores, Monitor("late"), later.models.get("late"))
        assert [key.start for key in again.computed] == [FROM + DAY]
        assert run_monitor(later.stores, Monitor("late"), later.models.get("late")).computed == ()


def test_a_window_that_nobody_computed_is_unknown_and_not_healthy(trained):
    log_trips(trained, trips_between(trained, FROM, FROM + DAY))
    with at(trained, LATER) as later:
        shown = later.monitoring.show("late").windows
        assert (shown[0].state, shown[0].health) == ("not computed", "unknown")
        later.monitoring.measure("late", window="1d")
    log_trips(trained, trips_between(trained, FROM + 2 * DAY, FROM + 3 * DAY))
    with at(trained, LATER) as later:
        states = [(window.state, window.health) for window in later.monitoring.show("late").windows]
    assert states[0][0] == "complete"
    assert states[1:3] == [("no predictions", "unknown"), ("not computed", "unknown")]
    assert set(states[3:]) == {("no predictions", "unknown")}


def test_two_monitors_at_once_compute_each_window_once(trained):
    log_trips(trained, trips_between(trained, FROM, FROM + 4 * DAY))
    found = []

    def run() -> None:
        with at(trained, LATER) as later:
            found.append(run_monitor(later.stores, Monitor("late"), later.models.get("late")).computed)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts = [key.start for computed in found for key in computed]
    assert sorted(starts) == [FROM + number * DAY for number in range(4)]


def test_a_model_that_nobody_asked_is_an_error_and_no_good_news(trained):
    with pytest.raises(DataError, match="no prediction of late@1 is logged"):
        trained.monitoring.measure("late")


def test_a_shifted_feature_is_named_and_an_irrelevant_one_is_last(trained):
    changed = {"driver_trips:count_6h": pl.lit(50.0), "trip:loaded_km": pl.lit(None, pl.Float64)}
    importance = {f["name"]: f["importance"] for f in trained.models.record("late")["features"]}
    irrelevant = min(importance, key=lambda name: importance[name])
    changed |= {irrelevant: pl.lit(50.0), "trip:far": pl.lit(1.0)}
    log_trips(trained, trips_between(trained, FROM, FROM + 4 * DAY), changed=changed)
    with at(trained, LATER) as later:
        drift = later.monitoring.measure("late", window="4d").windows[-1].drift or [
            d for w in later.monitoring.show("late", window="4d").windows for d in w.drift
        ]
    by_name = {one["feature"]: one for one in drift}
    assert by_name["trip:loaded_km"]["null_share_actual"] == 1
    assert by_name["trip:loaded_km"]["null_share_expected"] < 0.2
    if importance[irrelevant] == 0:
        assert by_name[irrelevant]["effect"] == 0
        assert by_name[irrelevant]["psi"] > 1
        assert drift[-1]["feature"] == irrelevant
    ranked = [one["effect"] for one in drift]
    assert ranked == sorted(ranked, reverse=True)


def test_a_feature_that_is_not_what_the_offline_join_gives_is_found_and_explained(trained):
    changed = {"depot_state:load": pl.col("depot_state:load") + 1}
    log_trips(trained, trips_between(trained, FROM, FROM + DAY), changed=changed)
    with at(trained, LATER) as later:
        window = later.monitoring.measure("late", window="1d").windows[0]
    parity = window.result["parity"]
    assert parity["different"] == parity["compared"]
    (first,) = parity["differences"]
    assert first["feature"] == "depot_state:load"
    assert first["online"] == pytest.approx(first["offline"] + 1)
    assert first["why"]


@pytest.mark.parametrize("value", [1.0, None])
def test_one_value_and_all_missing_are_windows_like_others(trained, value):
    trips = trips_between(trained, FROM, FROM + DAY).head(1)
    log_trips(trained, trips, changed={"trip:loaded_km": pl.lit(value, pl.Float64)})
    with at(trained, LATER) as later:
        window = later.monitoring.measure("late", window="1d").windows[0]
    assert window.state == "complete"
    assert window.predictions == 1
    assert np.isfinite([one["psi"] for one in window.drift]).all()


def test_arms_and_shadows_are_judged_by_themselves(trained):
    trips = trips_between(trained, FROM, FROM + DAY)
    half = trips.height // 2
    log_trips(trained, trips.head(half), endpoint="late", arm="stable")
    log_trips(trained, trips.tail(trips.height - half), endpoint="late", arm="canary")
    with at(trained, LATER) as later:
        arms = later.monitoring.measure("late", window="1d").windows[0].result["arms"]
    assert {one["arm"]: one["predictions"] for one in arms} == {"stable": half, "canary": trips.height - half}
    assert all(one["metrics"]["roc_auc"]["value"] is not None for one in arms)


def test_the_report_draws_what_is_known_and_loads_nothing(trained):
    from carrara.monitoring.report import render_report

    log_trips(trained, trips_between(trained, FROM, FROM + 2 * DAY))
    log_trips(trained, trips_between(trained, FROM + 4 * DAY, FROM + 5 * DAY))
    with at(trained, LATER) as later:
        report = later.monitoring.measure("late", window="1d")
        page = render_report(report)
        nothing = render_report(replace(report, windows=[w for w in report.windows if not w.result], alerts=[]))
    assert page.count('<circle class="dot') == 2 * 3
    assert page.count('<polyline class="line"') == 2
    assert page.count('class="expected"') == 1
    assert "<script" not in page
    assert "http" not in page
    assert "<circle" not in nothing


NEXT = '''
logged = carrara.Dataset("logged", source=".carrara/lake/predictions/late")


@carrara.dataset(inputs=("logged", "trips"))
def answered(logged, trips):
    """What was asked, with what then happened."""
    asked = logged.filter(~nw.col("shadow")).unique(["prediction_id"])
    known = trips.select("driver", "depot", "city", "at", "ended_at", "late")
    keys = ["driver", "depot", "city"]
    return asked.join(known, left_on=[*keys, "event_time"], right_on=[*keys, "at"])


following = carrara.Model(
    "following",
    features=("depot_state", "trip"),
    label=carrara.Label(dataset="answered", column="late", time="event_time", known_at="ended_at"),
    split=carrara.HashSplit(key=("event_time",)),
    trainer=carrara.XGBoost(trees=10, depth=3),
)
'''


def test_what_was_logged_trains_the_next_model(trained):
    """T15: the log is a dataset; each prediction is a row of it once, whatever was logged twice or as a shadow."""
    trips = trips_between(trained, FROM - 10 * DAY, FROM + 5 * DAY)
    for answered in ({}, {}, {"shadow": True}):
        log_trips(trained, trips, **answered)
    with (trained.root / "definitions.py").open("a") as file:
        file.write(NEXT)
    with Workspace(trained.root) as workspace:
        workspace.apply()
        made = workspace.train("following")
        assert workspace.datasets.read("answered").collect().height == trips.height
    assert made.evaluation.metrics["roc_auc"].value > 0.6
    assert made.evaluation.rows < trips.height


RULES = Monitor("late", window="1d", alerts=(alert("predictions > 0"),), notify=())


def test_a_window_is_red_where_alerts_are_judged_by_it_and_not_known_before(trained):
    """What a window shows and what an alert says agree: both are of windows whose time is over."""
    log_trips(trained, trips_between(trained, FROM, FROM + DAY))

    def looked(moment, *, run: bool) -> tuple[str, str, tuple[str, ...], int]:
        with at(trained, moment) as now:
            version = now.models.get("late")
            if run:
                run_monitor(now.stores, RULES, version)
            (window, *_) = read_monitor(now.stores, RULES, version).windows
            return window.state, window.health, window.holds, len(now.monitoring.alerts("late"))

    assert looked(FROM + DAY / 2, run=True) == ("open", "unknown", ("predictions > 0",), 0)
    assert looked(FROM + DAY, run=False) == ("changed", "unknown", ("predictions > 0",), 0)
    assert looked(FROM + DAY, run=True) == ("complete", "alert", ("predictions > 0",), 1)
    assert looked(FROM + DAY, run=True) == ("complete", "alert", ("predictions > 0",), 1)
