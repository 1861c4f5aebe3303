"""A model without a label: clusters, all the way from the definition to what is served, batched and monitored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans as Judge
from sklearn.metrics import silhouette_score

from carrara.core.errors import DataError, DefinitionError, TrainingError
from carrara.evaluation.metrics import METRICS_OF, measure
from carrara.training.model import Label, Unlabelled
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.kmeans import KMeans, distances
from carrara.workspace.workspace import Workspace
from commands import carrara
from trips import write_workspace

MODEL = """

groups = carrara.Model(
    "groups",
    features=("depot_state:load", "driver_trips", "trip:loaded_km"),
    label=carrara.Unlabelled(dataset="trips", time="at"),
    split=carrara.RollingSplit(validation="4d", test="6d"),
    trainer=carrara.KMeans(clusters=4, starts=3),
    transforms=(carrara.Impute(), carrara.Standardise()),
    slices=("depot",),
    gates=(carrara.at_least("silhouette", 0.1),),
)
"""
START = datetime(2024, 1, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = write_workspace(tmp_path_factory.mktemp("clusters") / "ws", trips=1_000)
    with (folder / "definitions.py").open("a") as file:
        file.write(MODEL)
    with Workspace(folder) as workspace:
        workspace.apply()
        workspace.train("groups")
        yield workspace


def test_clusters_are_found_judged_and_recorded(workspace):
    record = workspace.models.record("groups@1")
    assert list(record["metrics"]["test"]) == ["silhouette", "inertia", "smallest_share"]
    assert record["gates"]["passed"]
    assert {"cluster_sizes", "feature_importance", "slice_bars"} <= set(record["charts"])
    assert [(one["name"], one["dtype"]) for one in record["signature"]["serving_default"]["outputs"]] == [
        ("distances", "float32"),
        ("cluster", "int64"),
        ("distance", "float32"),
    ]
    assert record["parameters"]["export"]["equal"]
    assert sum(feature["importance"] for feature in record["features"]) == pytest.approx(1)
    assert workspace.models.reproduce("groups@1").equal
    assert workspace.models.report("groups@1").read_text().count("silhouette") > 0
    again = carrara("train", "groups", "--json", "-w", workspace.root)
    assert json.loads(again.stdout)["reused"] is True, again.stderr


def test_clusters_are_served_by_entity_and_in_batch_and_monitored(workspace, tmp_path):
    workspace.features.materialise(until=START)
    workspace.deploy("groups@1")
    day = workspace.datasets.read("trips").filter(pl.col("at") > START).sort("at").collect()
    rows = day.unique("driver", keep="first", maintain_order=True)
    rows = rows.select("driver", "depot", "city", "distance", event_time="at")
    rows.write_parquet(tmp_path / "rows.parquet")
    entities = [{**row, "event_time": row["event_time"].isoformat()} for row in rows.iter_rows(named=True)]
    online = workspace.predict("groups@1", entities, log=True).rows
    assert set(online["cluster"]) <= set(range(4))
    whole = np.array(online["distances"].to_list())
    np.testing.assert_array_equal(whole.argmin(axis=1), online["cluster"].to_numpy())
    np.testing.assert_allclose(whole.min(axis=1), online["distance"].to_numpy(), rtol=1e-6)

    assert workspace.predict_batch("groups@1", tmp_path / "rows.parquet", tmp_path / "out.parquet") == rows.height
    batch = pl.read_parquet(tmp_path / "out.parquet")
    assert {"cluster", "distance", "distances:0", "distances:3"} <= set(batch.columns)
    assert "predicted" not in batch.columns

    report = workspace.monitor("groups@1")
    assert (report.predictions, report.outcomes, report.metrics) == (rows.height, 0, None)
    assert report.windows[0].drift


def test_the_centres_are_those_of_scikit_learn_and_each_run_gives_the_same():
    random = np.random.default_rng(5)
    centres = random.normal(0, 10, (3, 4))
    rows = (centres[random.integers(0, 3, 900)] + random.normal(size=(900, 4))).astype(np.float32)
    part, task = Part(rows, np.zeros(900, np.float32)), Task("clustering", tuple("abcd"))
    one, other = (KMeans(clusters=3).fit(part, part, task) for _ in range(2))
    assert one.learned == other.learned
    judge = Judge(3, n_init=10, random_state=0).fit(rows.astype(np.float64))
    found = np.array(json.loads(one.learned["learned.json"])["centres"])
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(judge.cluster_centers_, axis=0), rtol=1e-6)
    np.testing.assert_allclose(one.predict(rows), judge.transform(rows.astype(np.float64)), rtol=1e-6)


def test_metrics_of_clusters_are_those_of_their_definitions():
    random = np.random.default_rng(6)
    rows = np.concatenate([random.normal(place, 1, (300, 2)) for place in (0, 8)])
    centres = np.array([[0.0, 0.0], [8.0, 8.0]])
    away = distances(rows, centres)
    found = measure([], away, METRICS_OF["clustering"], kind="clustering", bootstrap=50)
    nearest = away.min(axis=1)
    assert found["inertia"].value == pytest.approx((nearest**2).mean())
    assert found["silhouette"].value == pytest.approx(silhouette_score(rows, away.argmin(axis=1)), abs=0.08)
    assert found["silhouette"].low < found["silhouette"].value < found["silhouette"].high
    assert found["smallest_share"].value + found["largest_share"].value == pytest.approx(1)
    with pytest.raises(DataError, match="2 of 600 rows have a distance that is missing"):
        measure([], np.where(np.arange(600)[:, None] < 2, np.nan, away), ["inertia"], kind="clustering")


def test_what_makes_no_clusters_is_said():
    part, task = Part(np.ones((50, 1), np.float32), np.zeros(50, np.float32)), Task("clustering", ("a",))
    with pytest.raises(TrainingError, match="1 different rows make no 8 clusters"):
        KMeans().fit(part, part, task)
    with pytest.raises(TrainingError, match=r"(?s)missing numbers, and there are some in: a.*Impute"):
        KMeans().fit(Part(np.full((9, 1), np.nan, np.float32), part.labels[:9]), part, task)
    with pytest.raises(TrainingError, match=r"(?s)learns from no label.*Unlabelled"):
        KMeans().fit(part, part, Task("binary", ("a",)))
    with pytest.raises(DefinitionError, match="no difference"):
        KMeans(clusters=1)
    with pytest.raises(DefinitionError, match=r"(?s)names no column.*Unlabelled"):
        Label("trips", "", "at")
    with pytest.raises(DefinitionError, match="no label"):
        Label("trips", "late", "at", kind="clustering")
    assert Unlabelled("trips", time="at").column == ""
