"""Numbers and classes all the way: trained, judged, deployed, asked by entity keys, predicted in batch, monitored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, mean_squared_error

from carrara.workspace.workspace import Workspace
from trips import write_workspace

MORE = '''
state_of_depot = carrara.FeatureView(
    "crowd", entity="depot", source="depots", event_time="seen_at", features={"level": "string"},
    sql="SELECT *, CASE WHEN load > 0.7 THEN 'full' WHEN load > 0.3 THEN 'half' END AS level FROM depots",
)


@carrara.dataset(inputs=("trips",))
def graded(trips):
    """Trips with how late they came."""
    grade = nw.when(nw.col("delay") > 22).then(nw.lit("very late")).otherwise(nw.lit("in time"))
    return trips.with_columns(grade=nw.when(nw.col("delay") > 12).then(grade).otherwise(nw.lit("early")))


SPLIT = carrara.TimeSplit(validation_from="2024-01-15", test_from="2024-01-20")
FEATURES = ("depot_state:load", "crowd", "driver_trips", "trip:far")
delay = carrara.Model(
    "delay",
    features=FEATURES,
    label=carrara.Label(dataset="trips", column="delay", time="at", known_at="ended_at", kind="regression"),
    split=SPLIT,
    trainer=carrara.LightGBM(trees=60, leaves=7),
    transforms=(carrara.OneHot("crowd:level"),),
    baseline=("driver",),
    slices=("depot",),
    gates=(carrara.at_most("rmse", 15), carrara.better_than_baseline("rmse")),
)
grade = carrara.Model(
    "grade",
    features=FEATURES,
    label=carrara.Label(dataset="graded", column="grade", time="at", known_at="ended_at", kind="multiclass"),
    split=SPLIT,
    trainer=carrara.Linear(),
    transforms=(carrara.Impute(), carrara.Standardise(), carrara.OneHot("*")),
    baseline=("driver",),
)
'''
START = datetime(2024, 1, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = write_workspace(tmp_path_factory.mktemp("kinds") / "ws")
    with (folder / "definitions.py").open("a") as file:
        file.write(MORE)
    with Workspace(folder) as workspace:
        workspace.apply()
        workspace.datasets.ingest()
        yield workspace


def test_a_number_is_learned_served_and_monitored(workspace, tmp_path):
    trained = workspace.train("delay")
    assert list(trained.evaluation.metrics) == ["rmse", "mae", "r2"]
    assert trained.gates["passed"], trained.gates
    assert set(trained.evaluation.charts) == {
        "over_time",
        "predicted_actual",
        "residuals",
        "residuals_by_prediction",
        "slice_bars",
    }
    record = workspace.models.record("delay@1")
    assert record["signature"]["serving_default"]["outputs"] == [
        {"name": "prediction", "dtype": "float32", "shape": [None]}
    ]
    assert {f["name"] for f in record["features"]} == {
        t["name"] for t in record["signature"]["serving_default"]["inputs"]
    }
    assert sum(feature["importance"] for feature in record["features"]) == pytest.approx(1)

    online, batch = asked(workspace, "delay", tmp_path)
    known = batch.join(outcomes(workspace), on=["driver", "event_time"])
    assert mean_squared_error(known["delay"], known["prediction"]) < np.var(known["delay"].to_numpy())
    truth = online.join(outcomes(workspace), on=["driver", "event_time"])

    report = workspace.monitor("delay@1")
    assert report.metrics is not None
    assert report.metrics["rmse"]["value"] == pytest.approx(
        np.sqrt(mean_squared_error(truth["delay"], truth["prediction"])), rel=1e-6
    )
    assert report.windows[0].score_drift["feature"] == "prediction"
    expected = trained.evaluation.metrics["rmse"].value
    estimated = next(window.result["estimated"] for window in report.windows if window.result)
    assert set(estimated) == {"rmse", "mae", "r2"}
    assert estimated["rmse"]["low"] < estimated["rmse"]["value"] < estimated["rmse"]["high"]
    assert estimated["rmse"]["value"] == pytest.approx(expected, rel=0.5)


def test_classes_are_learned_served_and_monitored(workspace, tmp_path):
    trained = workspace.train("grade")
    assert list(trained.evaluation.metrics) == ["accuracy", "log_loss", "macro_f1", "macro_roc_auc"]
    assert trained.evaluation.metrics["accuracy"].value > trained.evaluation.baseline["accuracy"].value
    record = workspace.models.record("grade@1")
    assert record["parameters"]["classes"] == ["early", "in time", "very late"]

    online, batch = asked(workspace, "grade", tmp_path)
    classes = record["parameters"]["classes"]
    probabilities = batch.select(f"probabilities:{name}" for name in classes).to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert batch["predicted"].to_list() == [classes[place] for place in probabilities.argmax(axis=1)]
    places = np.array(online["probabilities"].to_list()).argmax(axis=1)
    truth = online.with_columns(predicted=pl.Series([classes[place] for place in places]))
    truth = truth.join(outcomes(workspace), on=["driver", "event_time"])
    report = workspace.monitor("grade@1")
    assert report.metrics is not None
    assert report.metrics["accuracy"]["value"] == pytest.approx(accuracy_score(truth["grade"], truth["predicted"]))
    estimated = next(window.result["estimated"] for window in report.windows if window.result)
    assert set(estimated) == set(report.metrics)
    assert estimated["accuracy"]["low"] < estimated["accuracy"]["value"] < estimated["accuracy"]["high"]
    assert estimated["accuracy"]["value"] == pytest.approx(trained.evaluation.metrics["accuracy"].value, abs=0.3)


def asked(workspace: Workspace, model: str, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions of a trip of each driver by entity keys, logged, and the same in batch."""
    workspace.features.materialise(until=START)
    workspace.deploy(f"{model}@1")
    day = workspace.datasets.read("graded").filter(pl.col("at") > START).sort("at").collect()
    rows = day.unique("driver", keep="first", maintain_order=True)
    rows = rows.select("driver", "depot", "city", "distance", event_time="at")
    rows.write_parquet(folder / "rows.parquet")
    workspace.predict_batch(f"{model}@1", folder / "rows.parquet", folder / "out.parquet")
    entities = [{**row, "event_time": row["event_time"].isoformat()} for row in rows.iter_rows(named=True)]
    online = workspace.predict(f"{model}@1", entities, log=True).rows
    return online.with_columns(rows["event_time"]), pl.read_parquet(folder / "out.parquet")


def outcomes(workspace: Workspace) -> pl.DataFrame:
    return workspace.datasets.read("graded").collect().select("driver", "delay", "grade", event_time="at")
