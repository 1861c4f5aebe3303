"""The tree viewer: the trees of a version with its training rows, and the way of a row of features."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import CarraraError, ColumnMissing, NotFoundError
from carrara.features.training_set import read_training_set
from carrara.models.registry import opened
from carrara.workspace.workspace import Workspace
from commands import carrara

MORE = """
SPLIT = carrara.TimeSplit(validation_from="2024-01-15", test_from="2024-01-20")
LABEL = carrara.Label(dataset="trips", column="delay", time="at", known_at="ended_at", kind="regression")
delay = carrara.Model(
    "delay", features=("depot_state", "driver_trips", "trip"), label=LABEL, split=SPLIT,
    trainer=carrara.LightGBM(trees=12, leaves=6), transforms=(carrara.Impute("driver_trips:delay_mean_2d"),),
)
plain = carrara.Model(
    "plain", features=("depot_state:load", "trip"), label=LABEL, split=SPLIT, trainer=carrara.Linear(),
    transforms=(carrara.Impute(),),
)
crowd = carrara.FeatureView(
    "crowd", entity="depot", source="depots", event_time="seen_at", features={"level": "string"},
    sql="SELECT *, CASE WHEN load > 0.5 THEN 'full' ELSE 'half' END AS level FROM depots",
)
parted = carrara.Model(
    "parted", features=("trip", "crowd"), label=LABEL, split=SPLIT, trainer=carrara.XGBoost(trees=5, depth=3),
    partition_by=("crowd:level",), partition_rows=100,
)
"""


@pytest.fixture
def workspace(trained):
    with (trained.root / "definitions.py").open("a") as file:
        file.write(MORE)
    trained.close()
    with Workspace(trained.root) as workspace:
        yield workspace


def test_every_training_row_comes_to_a_leaf(trained):
    record, trees = trained.models.record("late@1"), trained.models.trees("late@1")
    assert trees.columns == tuple(spec["name"] for spec in record["signature"]["serving_default"]["inputs"])
    view = trees.view(3)
    assert (
        sum(node.rows for node in view.nodes if node.value is not None) == record["datasets"]["parts"]["train"]["rows"]
    )
    assert {node.feature for node in view.nodes} - {None} <= set(trees.columns)
    table = trees.table()
    assert (len(table), sum(tree["leaves"] for tree in table)) == (
        record["parameters"]["trees"],
        record["parameters"]["leaves"],
    )
    assert sum(tree["gain"] for tree in table) == pytest.approx(1)


@pytest.mark.parametrize("model", ["late", "delay"])
def test_the_way_of_a_row_ends_with_what_is_served(workspace, model):
    if model == "delay":
        workspace.train("delay")
    rows = rows_of(workspace, model).tail(50)
    paths = workspace.models.trees(f"{model}@1", seen=False).paths(rows, tree=1)
    with opened(workspace.stores, workspace.models.get(f"{model}@1")) as servable:
        (served,) = servable.run(servable.signature.tensors(rows)).values()
    np.testing.assert_allclose([path.answer[0] for path in paths], served, rtol=1e-5)
    assert all(sum(path.contributions) + path.base[0] == pytest.approx(path.margin[0]) for path in paths)


def test_a_node_of_a_partitioned_model_has_trees_of_its_own(workspace):
    workspace.train("parted")
    root = workspace.models.trees("parted@1").view(0)
    parts = [workspace.models.trees("parted@1", node=name).view(0) for name in ("full", "half")]
    assert sum(part.nodes[0].rows for part in parts) == root.nodes[0].rows
    with pytest.raises(NotFoundError, match="'half'"):
        workspace.models.trees("parted@1", node="hal")


def test_what_cannot_be_seen_is_said(workspace):
    with pytest.raises(NotFoundError, match="late@1 has trees 0 to 39"):
        workspace.models.trees("late@1").view(40)
    with pytest.raises(NotFoundError, match="without nodes"):
        workspace.models.trees("late@1", node="east")
    with pytest.raises(ColumnMissing, match="depot_state:load"):
        workspace.models.trees("late@1").paths(pl.DataFrame({"depot_state:lod": [1.0]}))
    workspace.train("plain")
    with pytest.raises(CarraraError, match=r"plain@1 has no trees"):
        workspace.models.trees("plain@1")
    assert "<h2>Trees" not in workspace.models.report("plain@1").read_text()


def test_the_command_shows_a_tree_and_the_way_of_a_row(trained):
    rows_of(trained).head(2).write_csv(trained.root / "rows.csv")
    done = carrara("model", "tree", "late@1", "--tree", "0", "--path", "rows.csv", cwd=trained.root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "late@1, tree 0 of 40: 8 leaves, depth 3"
    assert sum("●" in line for line in lines) == 4
    assert sum(line.startswith("row ") for line in lines) == 2
    found = json.loads(
        carrara("model", "tree", "late@1", "--tree", "0", "--path", "rows.csv", "--json", cwd=trained.root).stdout
    )
    assert (found["model"], found["leaves"], len(found["nodes"]), len(found["paths"])) == ("late@1", 8, 15, 2)
    table = carrara("model", "tree", "late@1", cwd=trained.root).stdout
    assert "One of them: carrara model tree late@1 --tree 0" in table
    assert len(json.loads(carrara("model", "tree", "late@1", "--json", cwd=trained.root).stdout)["trees"]) == 40


def test_a_row_that_somebody_thinks_of_gets_the_answer_that_is_served(trained):
    """N18, M29: some features as told, the others as in the middle of the training rows."""
    trees = trained.models.trees("late@1", seen=False)
    told = {"trip:loaded_km": "80.5", "depot_state:load": "", "trip:far": "1"}
    row = trees.row(told)
    assert row["trip:loaded_km"].to_list() == [80.5]
    assert row["depot_state:load"].to_list() == [None]
    train = trained.models.record("late@1")["features"]
    median = next(one["statistics"]["quantiles"][5] for one in train if one["name"] == "driver_trips:delay_last_2d")
    assert row["driver_trips:delay_last_2d"].to_list() == [median]
    (path,) = trees.paths(row, 2)
    with opened(trained.stores, trained.models.get("late@1")) as servable:
        answered = servable.run(servable.signature.tensors(row))["probability"]
    assert path.answer == pytest.approx(answered.tolist(), abs=1e-6)
    assert path.margin[0] == pytest.approx(path.base[0] + sum(path.contributions))
    pairs = [word for name, value in told.items() for word in ("--what-if", f"{name}={value}")]
    shown = carrara("model", "tree", "late@1", "--tree", "2", *pairs, "--json", cwd=trained.root)
    assert json.loads(shown.stdout)["paths"][0]["nodes"] == path.nodes
    for wrong, said in (("trip:loaded=1", "trip:loaded_km"), ("trip:far=very", "is a number"), ("x", "FEATURE=VALUE")):
        refused = carrara("model", "tree", "late@1", "--what-if", wrong, cwd=trained.root)
        assert refused.returncode != 0
        assert said in refused.stderr


def test_an_exported_version_shows_the_same_trees_without_its_workspace(trained, tmp_path):
    """N18: the bundle that is served, offline."""
    file = trained.models.export("late@1", tmp_path / "late.carrara")
    what_if = ("--what-if", "trip:loaded_km=80.5", "--tree", "2", "--json")
    here = json.loads(carrara("model", "tree", "late@1", *what_if, cwd=trained.root).stdout)
    (tmp_path / "empty").mkdir()
    there = json.loads(carrara("model", "tree", file, *what_if, cwd=tmp_path / "empty").stdout)
    assert there["paths"] == here["paths"]
    rules = [[(node["rule"], node["value"]) for node in told["nodes"]] for told in (here, there)]
    assert rules[0] == rules[1]
    assert there["nodes"][0]["rows"] is None
    broken = tmp_path / "broken.carrara"
    broken.write_bytes(file.read_bytes()[:-100])
    assert carrara("model", "tree", broken, cwd=tmp_path / "empty").returncode == 1
    assert not list((tmp_path / "empty").iterdir())


def test_the_framework_is_not_needed(trained):
    code = (
        "import sys\nsys.modules['xgboost'] = None\nfrom carrara import Workspace\n"
        "with Workspace() as ws:\n    print(len(ws.models.trees('late@1').view(0).nodes))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=trained.root)
    assert done.stdout.strip() == "15", done.stderr


def test_the_report_shows_trees(trained):
    page = trained.models.report("late@1").read_text()
    assert page.count("<details") >= 8
    assert "trip:far &lt; 1" in page


def rows_of(workspace, model="late"):
    return read_training_set(workspace.stores, model, 1)[1].collect()
