"""The demo on real flights: what it prints, what it proves, and that it survives being killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from carrara.features.training_set import read_training_set
from carrara.workspace.workspace import Workspace

SHORT = """
from dataclasses import replace
from carrara.cli.main import run as carrara
from carrara.demo import run

run.MONTH = replace(run.MONTH, lived=(("2013-01-22", 4),))
carrara()
"""
"""The quick demo, which lives through four days."""


def command(folder: Path) -> list[str]:
    return [sys.executable, "-c", SHORT, "demo", str(folder), "--quick", "--json"]


def ingests(folder: Path) -> bool:
    return (folder / ".carrara" / "lake" / "datasets").exists()


def serves(folder: Path) -> bool:
    """Something that was predicted is in a journal, or in the lake already."""
    own = folder / ".carrara"
    return any((own / "journals").glob("*/*.segment*")) or (own / "lake" / "predictions").exists()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The last line of a quick demo that was killed twice before: in the middle of its steps, and while it served."""
    folder = tmp_path_factory.mktemp("demo") / "flights"
    for has_come in (ingests, serves):
        process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, start_new_session=True)
        while not has_come(folder):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command(folder), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def workspace(result):
    with Workspace(str(result["workspace"])) as opened:
        yield opened


def test_the_last_line_says_what_was_done(result):
    assert result["model"] == "late_arrival@1"
    steps = {"ingest", "training set", "train", "evaluate", "register", "deploy", "materialise", "serve", "live"}
    assert steps <= result["seconds"].keys()
    assert result["features_equal_offline"] == 1000


def test_the_model_clearly_beats_rates_per_carrier_and_hour(result):
    assert result["roc_auc"] > result["baseline_roc_auc"] + 0.05


def test_live_quality_is_near_the_evaluation(result):
    assert abs(result["live_roc_auc"] - result["roc_auc"]) < 0.05
    assert result["outcomes_joined"] > 0.9 * result["predictions_logged"]


def test_every_flight_with_a_plane_is_predicted_exactly_once(result, workspace):
    """P8: killed and repeated, the log still has each prediction once."""
    log = workspace.predictions("late_arrival")
    assert log["prediction_id"].is_unique().all()
    board = pl.col("board_time").is_between(log["event_time"].min(), log["event_time"].max())
    flights = workspace.datasets.read("legs").filter(board).drop_nulls("tailnum").collect()
    assert log.height == flights.height == result["predictions_logged"]


def test_no_feature_of_a_training_row_was_known_after_the_scheduled_departure(result, workspace):
    """Recomputed row by row from the raw tables, with only what was known by then."""
    _, rows = read_training_set(workspace.stores, "late_arrival", 1)
    rows = rows.collect()
    assert (rows["board_time"] <= rows["scheduled_departure"]).all()
    legs = workspace.datasets.read("legs").collect()
    weather = workspace.datasets.read("weather").collect()
    for row in rows.sample(60, seed=1).iter_rows(named=True):
        at = row["board_time"]
        arrived = legs.filter(pl.col("arrived_at") <= at)
        carrier = arrived.filter(pl.col("carrier") == row["carrier"])
        for window, length in (("6h", timedelta(hours=6)), ("7d", timedelta(days=7))):
            inside = carrier.filter(pl.col("arrived_at") > at - length)
            assert row[f"carrier_delays:arr_delay_mean_{window}"] == pytest.approx(inside["arr_delay"].mean())
            assert row[f"carrier_delays:late_rate_{window}"] == pytest.approx(inside["late"].mean())
        route = arrived.filter(pl.col("origin") == row["origin"], pl.col("dest") == row["dest"])
        day = route.filter(pl.col("arrived_at") > at - timedelta(days=1))
        assert row["route_delays:count_1d"] == day.height
        left = legs.filter(pl.col("origin") == row["origin"], pl.col("departed_at") <= at)
        recent = left.filter(pl.col("departed_at") > at - timedelta(hours=2))
        assert row["origin_departures:dep_delay_mean_2h"] == pytest.approx(recent["dep_delay"].mean())
        seen = weather.filter(pl.col("origin") == row["origin"], pl.col("time_hour") <= at).sort("time_hour").tail(1)
        fresh = seen.height and at - seen["time_hour"][0] <= timedelta(hours=6)
        assert row["origin_weather:temp"] == (seen["temp"][0] if fresh else None)


def test_a_flight_arrives_after_it_left_and_is_known_then(result, workspace):
    """The times in UTC are right: no flight of 2013 was faster than 20 minutes or slower than 13 hours."""
    legs = workspace.datasets.read("arrivals").collect()
    took = legs["arrived_at"] - legs["departed_at"]
    assert took.min() > timedelta(minutes=20)
    assert took.max() < timedelta(hours=13)


def test_the_report_stands_alone(result, workspace):
    page = (Path(str(result["workspace"])) / "reports" / "late_arrival-1.html").read_text()
    assert page.count("<svg") >= 5
    assert "src=" not in page.replace("default-src", "")
