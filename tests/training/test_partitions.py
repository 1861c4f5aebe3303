"""Partitioned models: each row is answered by its own node, or by the nearest parent that could be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from test_trainers import START, model

from carrara.core.errors import NotFoundError, TrainingError
from carrara.models.runtimes.base import open_servable
from carrara.training.fit import fit_model, prepare
from carrara.training.partitions import FormerNodes, fit_partitioned, inner_features, refit_nodes
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.xgboost import XGBoost
from carrara.training.transforms.texts import OneHot
from carrara.workspace.workspace import Workspace
from commands import carrara
from trips import write_workspace

RANDOM = np.random.default_rng(1)
ROWS = 6_000
COUNTRY = RANDOM.choice(["north", "south", "east"], ROWS, p=[0.5, 0.4, 0.1])
CITY = np.where(RANDOM.random(ROWS) < 0.02, "hamlet", np.char.add(COUNTRY, RANDOM.choice(["1", "2"], ROWS)))
X = RANDOM.normal(size=ROWS)
SLOPE = np.select([COUNTRY == "north", COUNTRY == "south"], [2.0, -2.0], 0.0) + (CITY == "north1") * 3.0
TABLE = pl.DataFrame(
    {
        "at": [START] * ROWS,
        "v:x": X,
        "v:country": COUNTRY,
        "v:city": CITY,
        "regression": SLOPE * X + RANDOM.normal(0, 0.1, ROWS),
    }
)
PARTS = {"train": TABLE[:4_000], "validation": TABLE[4_000:5_000], "test": TABLE[5_000:]}
FEATURES = ("v:x", "v:country", "v:city")


def partitioned(**more):
    made = model("regression", Linear(), features=FEATURES, transforms=())
    return replace(made, partition_by=("v:country", "v:city"), partition_rows=300, **more)


def fit(made):
    root = prepare(made, inner_features(made, FEATURES), PARTS)
    return fit_partitioned(made, FEATURES, PARTS, root, lambda done, total: None)


def opened(made, folder):
    for name, data in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return open_servable(made.format, folder, made.signature)


def test_each_row_is_answered_by_the_longest_prefix_that_there_is(tmp_path):
    made = fit(partitioned())
    nodes = {node["name"]: node["rows"] for node in made.summary["nodes"]}
    cities = {f"{country}/{country}{number}" for country in ("north", "south") for number in (1, 2)}
    assert set(nodes) == {"(all)", "east", "north", "south"} | cities
    assert made.export["nodes"] == len(nodes)
    servable = opened(made, tmp_path)
    servable.warm_up()
    asked = {
        "v:x": np.ones(6, np.float32),
        "v:country": np.array(["north", "north", "south", "west", "east", None], object),
        "v:city": np.array(["north1", "hamlet", "south2", "north1", "east1", None], object),
    }
    found = servable.run(asked)
    assert found["node"].tolist() == ["north/north1", "north", "south/south2", "(all)", "east", "(all)"]
    np.testing.assert_allclose(found["prediction"][[0, 2, 4]], [5.0, -2.0, 0.0], atol=0.05)
    test = PARTS["test"]
    scores = servable.run({name: test[name].to_numpy() for name in FEATURES})["prediction"]
    error = float(np.mean((scores - test["regression"].to_numpy()) ** 2))
    whole = fit_model(model("regression", Linear(), features=("v:x",), transforms=()), ("v:x",), PARTS)
    alone = open_servable(whole.format, _written(whole, tmp_path / "whole"), whole.signature)
    one = alone.run({"v:x": test["v:x"].to_numpy()})["prediction"]
    assert error < 0.2 * float(np.mean((one - test["regression"].to_numpy()) ** 2))


def _written(made, folder):
    folder.mkdir()
    for name, data in made.files.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_node_that_cannot_be_learned_is_left_to_its_parent_and_told():
    constant = {
        name: part.with_columns(regression=pl.when(pl.col("v:city") == "south1").then(7.0).otherwise("regression"))
        for name, part in PARTS.items()
    }
    made = partitioned()
    root = prepare(made, inner_features(made, FEATURES), constant)
    found = fit_partitioned(made, FEATURES, constant, root, lambda done, total: None)
    assert list(found.summary["left_to_parents"]) == ["south/south1"]
    assert "every label in the train part" in found.summary["left_to_parents"]["south/south1"]


def test_features_of_the_partition_are_inputs_of_nodes_where_a_transform_takes_them():
    assert inner_features(partitioned(), FEATURES) == ("v:x",)
    assert inner_features(partitioned(transforms=(OneHot("v:country"),)), FEATURES) == ("v:x", "v:country")
    assert inner_features(partitioned(transforms=(OneHot(),)), FEATURES) == FEATURES


def test_a_node_is_fitted_anew_and_the_files_of_all_others_are_as_they_were(tmp_path):
    made, declared = fit(partitioned()), partitioned()
    moved = {name: part.with_columns(regression=pl.col("regression") + 10) for name, part in PARTS.items()}
    former = FormerNodes("m@1", made.files, made.learned)
    again = refit_nodes(declared, FEATURES, moved, former, ("south/south1",))
    nodes = {node["name"]: node for node in again.summary["nodes"]}
    assert [name for name, node in nodes.items() if "kept" not in node] == ["south/south1"]
    assert {node["kept"] for node in nodes.values() if "kept" in node} == {"m@1"}
    changed = {name.partition("/model")[0] for name in made.files if made.files[name] != again.files[name]}
    assert changed == {"partitions.json", f"nodes/{list(nodes).index('south/south1')}"}
    asked = {
        "v:x": np.ones(2, np.float32),
        "v:country": np.array(["south", "south"], object),
        "v:city": np.array(["south1", "south2"], object),
    }
    np.testing.assert_allclose(opened(again, tmp_path).run(asked)["prediction"], [8.0, -2.0], atol=0.05)
    third = refit_nodes(declared, FEATURES, moved, FormerNodes("m@2", again.files, again.learned), ("south",))
    kept = {node["name"]: node.get("kept") for node in third.summary["nodes"]}
    assert (kept["south"], kept["south/south1"], kept["east"]) == (None, "m@2", "m@1")


def test_a_node_that_cannot_be_fitted_alone_is_refused_with_what_there_is():
    made = fit(partitioned())
    former = FormerNodes("m@1", made.files, made.learned)
    with pytest.raises(
        NotFoundError, match=r"(?s)no node with at least 300 training rows 'south/south3'.*Did you mean 'south/south"
    ):
        refit_nodes(partitioned(), FEATURES, PARTS, former, ("south/south3",))
    other = replace(partitioned(), partition_by=("v:country",))
    with pytest.raises(TrainingError, match="is partitioned by v:country, v:city"):
        refit_nodes(other, FEATURES, PARTS, former, ("south",))
    wider = partitioned(transforms=(OneHot("v:country"),))
    with pytest.raises(TrainingError, match=r"(?s)would take other features.*whole model"):
        refit_nodes(wider, FEATURES, PARTS, former, ("south",))
    with pytest.raises(TrainingError, match="is one model, and has no nodes"):
        refit_nodes(partitioned(), FEATURES, PARTS, FormerNodes("m@1", {}, {}), ("south",))


def test_it_is_partitioned_by_texts():
    made = replace(model("regression", XGBoost(trees=2), features=("v:x",), transforms=()), partition_by=("v:x",))
    with pytest.raises(TrainingError, match=r"'v:x'.*is no text"):
        fit_partitioned(made, ("v:x",), PARTS, prepare(made, ("v:x",), PARTS), lambda done, total: None)


def test_a_partitioned_model_is_one_version_with_metrics_of_its_parts(tmp_path):
    folder = write_workspace(tmp_path / "ws")
    text = (folder / "definitions.py").read_text()
    view = """
where = carrara.FeatureView("where", entity="depot", source="depots", event_time="seen_at", features={"town": "string"},
    sql="SELECT depot, city, seen_at, city AS town FROM depots")
"""
    text = text.replace("late = carrara.Model(", f"{view}\nlate = carrara.Model(")
    text = text.replace('"trip"),', '"trip", "where"),\n    partition_by=("where:town",), partition_rows=300,')
    (folder / "definitions.py").write_text(text)
    with Workspace(folder) as workspace:
        trained = workspace.train("late")
        slices = {one.value for one in trained.evaluation.slices if one.column == "where:town"}
        assert slices == {"c0", "c1", "c2"}
        record = workspace.models.record("late@1")
        assert len(record["parameters"]["nodes"]) == 4
        workspace.features.materialise()
        rows = workspace.datasets.read("trips").collect().tail(3).select("driver", "depot", "city", "distance")
        answered = workspace.predict("late@1", rows.to_dicts()).rows
        assert answered["node"].to_list() == rows["city"].to_list()
        assert workspace.models.reproduce("late@1").equal
        done = carrara("train", "late", "--node", "c1", "-w", folder)
        assert "c1 of 4 nodes, the others of late@1" in done.stdout
        second = workspace.models.record("late@2")
        assert (second["summary"]["retrained"], second["summary"]["start"]) == (["c1"], "late@1")
        assert "model:late@1" in {edge["source"] for edge in second["lineage"]}
        assert workspace.models.reproduce("late@2").equal
