"""Time series: labels ahead, lags as they were known, backtests over origins, forecasts by key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from carrara.core.errors import DataError, DefinitionError, RequestError
from carrara.data.ahead import Ahead
from carrara.features.aggregates import lags
from carrara.workspace.workspace import Workspace
from commands import carrara

START = datetime(2024, 1, 1, tzinfo=UTC)
DEFINITIONS = """
import carrara

sales = carrara.Dataset("sales", source="sales.parquet")
ahead = carrara.Ahead("ahead", source="sales", key=("store",), time="day", value="sold", steps=3)
store = carrara.Entity("store", keys=("store",))
history = carrara.AggregateView("history", entity="store", source="sales", event_time="day",
    aggregations=(carrara.lags("sold", 7, windows=("30d",)), carrara.mean("sold", windows=("28d",))))


@carrara.on_demand_view(request={"step": "int64"}, features={"days": "float64"})
def horizon(step):
    return {"days": step}


demand = carrara.Model("demand", features=("history", "horizon"),
    label=carrara.Label("ahead", "sold", "day", "known_at", "regression"),
    split=carrara.RollingSplit(validation="21d", test="21d"),
    trainer=carrara.LightGBM(trees=40, leaves=15), slices=("step",),
    gates=(carrara.at_most("mae", 6),))
"""


def series(days: int) -> pl.DataFrame:
    """Two stores that sell by the day of the week."""
    random, rows = np.random.default_rng(4), []
    week = np.array([10.0, 12, 20, 22, 35, 50, 5])
    for store, scale in (("s1", 1.0), ("s2", 1.5)):
        for day in range(days):
            rows.append((store, START + timedelta(days=day), float(week[day % 7] * scale + random.normal(0, 1))))
    frame = pl.DataFrame(rows, schema=["store", "day", "sold"], orient="row")
    return frame.with_columns(pl.col("day").cast(pl.Datetime("us", "UTC")))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sales")
    (folder / "carrara.toml").write_text("")
    (folder / "definitions.py").write_text(DEFINITIONS)
    series(180).write_parquet(folder / "sales.parquet")
    with Workspace(folder) as workspace:
        workspace.apply()
        workspace.train("demand")
        yield workspace


def test_what_came_after_each_row_is_by_key_with_the_time_at_which_it_was_known():
    rows = series(4).sample(fraction=1.0, shuffle=True, seed=1)
    made = Ahead("ahead", "sales", ("store",), "day", "sold", 2).function(nw.from_native(rows.lazy()))
    found = made.to_native().collect().sort("store", "day", "step")
    truth = {(store, day): sold for store, day, sold in rows.iter_rows()}
    assert found.height == 2 * (3 + 2)
    for store, day, sold, step, known_at in found.select("store", "day", "sold", "step", "known_at").iter_rows():
        assert known_at == day + timedelta(days=step)
        assert sold == truth[store, known_at]
    with pytest.raises(DefinitionError, match=r"(?s)called 'step'.*Rename"):
        Ahead("ahead", "sales", ("step",), "day", "sold", 2)
    with pytest.raises(DefinitionError, match="at least 1"):
        lags("sold", 0, windows=("7d",))


def test_lags_in_a_training_set_are_the_values_that_were_known(workspace):
    frame = workspace.features.join(["history"], series(180), time="day")
    frame = frame.filter(pl.col("store") == "s1").sort("day")
    sold = series(180).filter(pl.col("store") == "s1").sort("day")["sold"].to_numpy()
    for lag in (1, 2, 7):
        found = frame[f"history:sold_lag{lag}_30d"].fill_null(float("nan")).to_numpy()
        expected = np.concatenate([np.full(lag - 1, np.nan), sold[: len(sold) - lag + 1]])
        np.testing.assert_array_equal(found, expected)


def test_a_forecast_knows_the_week_and_is_served_by_key(workspace):
    record = workspace.models.record("demand@1")
    assert record["gates"]["passed"], record["metrics"]["test"]
    workspace.features.materialise(until=START + timedelta(days=180))
    newest = (START + timedelta(days=179)).isoformat()
    found = workspace.forecast("demand@1", [{"store": "s2", "event_time": newest}], steps=3).rows
    week = np.array([10.0, 12, 20, 22, 35, 50, 5]) * 1.5
    np.testing.assert_allclose(found["prediction"].to_numpy(), week[[180 % 7, 181 % 7, 182 % 7]], atol=8)
    words = ("forecast", "demand", "store=s2", "--steps", "3", "--at", newest, "--json")
    workspace.close()
    done = carrara(*words, "-w", workspace.root)
    told = json.loads(done.stdout)
    assert [one["step"] for one in told["forecasts"]] == [1, 2, 3]
    np.testing.assert_allclose([one["prediction"] for one in told["forecasts"]], found["prediction"].to_numpy())
    with pytest.raises(RequestError, match="lacks 'store'"):
        workspace.forecast("demand@1", [{"shop": "s2"}], steps=1)


def test_a_backtest_trains_on_what_was_known_at_each_origin(workspace):
    found = workspace.backtest("demand", origins=3, every="14d", against="history:sold_lag1_30d")
    newest = START + timedelta(days=178)
    assert [fold.origin for fold in found.folds] == [
        newest - timedelta(days=14 * n) + timedelta(microseconds=1) for n in (3, 2, 1)
    ]
    assert [fold.test_rows for fold in found.folds][:2] == [2 * 3 * 14] * 2
    assert sorted(fold.train_rows for fold in found.folds) == [fold.train_rows for fold in found.folds]
    first = found.folds[0]
    # Known before the validation part: of the last days those steps are left out that had not happened.
    days = (first.origin - timedelta(days=14) - START).days + 1
    assert first.train_rows == 2 * (3 * days - 6)
    for fold in found.folds:
        assert fold.metrics["mae"].value < fold.against["mae"].value
        # Of both it is the mean absolute error in units of one number, that of the feature on the training rows.
        assert fold.metrics["mase"].value < 1
        ratio = fold.metrics["mae"].value / fold.metrics["mase"].value
        assert fold.against["mae"].value / fold.against["mase"].value == pytest.approx(ratio)
    sold = workspace.datasets.read("ahead").collect()
    assert 0.2 * sold["sold"].std() < ratio < 3 * sold["sold"].std()
    charts = found.as_dict()["charts"]
    assert list(charts) == ["backtest", "error_by_horizon", "metric_by_fold"]
    drawn = charts["error_by_horizon"]["data"]["values"]
    weights = [len(fold.forecasts.steps) for fold in found.folds]
    assert np.mean([one["y"] for one in drawn]) == pytest.approx(
        np.average([fold.metrics["mae"].value for fold in found.folds], weights=weights), rel=0.02
    )
    run = workspace.runs("backtest")[0]
    assert (run.state, run.id) == ("complete", found.run_id)
    assert [step for step, _ in workspace.run_metrics(run.id)["mae"]] == [1, 2, 3]
    assert [str(version) for version in workspace.models.versions("demand")] == ["demand@1"]
    with pytest.raises(DataError, match=r"(?s)go back to 2024-01-01.*--origins"):
        workspace.backtest("demand", origins=30, every="14d")


def test_a_backtest_is_told_on_the_command_line(workspace):
    words = ("model", "backtest", "demand", "--origins", "2", "--every", "21d", "-w", workspace.root)
    page = workspace.root / "backtest.svg"
    done = carrara(*words, "-o", page)
    assert done.returncode == 0, done.stderr
    assert "mean: rmse" in done.stdout
    assert "Steps ahead" in page.read_text()
    refused = carrara(*words, "-o", "backtest.docx")
    assert "docx" in refused.stderr
    assert "origin 2024" not in refused.stdout  # nothing was trained for it


def test_a_series_is_drawn_as_it_came_and_as_it_was_forecast(workspace):
    charts = workspace.models.record("demand@1")["charts"]
    sold = workspace.datasets.read("ahead").collect()
    actual = [one for one in charts["series_over_time"]["data"]["values"] if one["sort"] == "actual"]
    assert {one["series"] for one in actual} == {"s1", "s2"}
    came = {(r["store"], r["known_at"].timestamp() * 1000): r["sold"] for r in sold.iter_rows(named=True)}
    for one in actual:
        assert one["value"] == pytest.approx(came[one["series"], one["time"]], abs=1e-4)
    errors = charts["error_by_horizon"]["data"]["values"]
    assert [one["x"] for one in errors] == [1, 2, 3]
    mae = workspace.models.record("demand@1")["metrics"]["test"]["mae"]["value"]
    assert np.mean([one["y"] for one in errors]) == pytest.approx(mae, rel=0.05)
    assert next(iter(workspace.models.evaluate("demand@1").evaluation.charts)) == "series_over_time"
