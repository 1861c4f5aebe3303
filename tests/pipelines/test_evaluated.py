"""What a training measures beyond its metrics: own metrics, crosses, and test rows that it has been trained on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from carrara.workspace.workspace import Workspace
from commands import carrara

MORE = '''
@carrara.metric(greater_is_better=False, per_row=True)
def cubed(labels, scores):
    """The cubed error."""
    return abs(labels - scores) ** 3


@carrara.metric(greater_is_better=False)
class misses:
    """The share that is missed, batch by batch."""

    def create(self):
        return (0.0, 0.0)

    def add(self, state, labels, scores, weights):
        late = labels == 1
        return state[0] + weights[late & (scores < 0.5)].sum(), state[1] + weights[late].sum()

    def merge(self, one, other):
        return one[0] + other[0], one[1] + other[1]

    def result(self, state):
        return state[0] / state[1]


priced = carrara.Model(
    "priced", features=("depot_state:load", "trip"),
    label=carrara.Label(dataset="trips", column="late", time="at", known_at="ended_at"),
    split=carrara.TimeSplit(validation_from="2024-01-15", test_from="2024-01-20"),
    trainer=carrara.Linear(), transforms=(carrara.Impute(), carrara.Standardise()),
    metrics=("roc_auc", "recall@0.3", "recall", cubed, misses,
             carrara.cost(false_positive=1, false_negative=4, name="dollars")),
    slices=("depot", "trip:far", ("depot", "trip:far"), {"long": "distance > 50"}),
    gates=(carrara.at_most(cubed, 0.5), carrara.at_least("recall@0.3", 0.1),
           carrara.no_slice_above(misses, 1.0, min_rows=50)),
)
'''


def test_metrics_of_ones_own_and_crosses_go_all_the_way(trained):
    with (trained.root / "definitions.py").open("a") as file:
        file.write(MORE)
    trained.close()
    with Workspace(trained.root) as workspace:
        made = workspace.train("priced")
        record = workspace.models.record("priced")
        again = workspace.models.evaluate("priced@1").evaluation.metrics["misses"].as_dict()
    test = record["metrics"]["test"]
    assert list(test) == ["roc_auc", "recall@0.3", "recall", "cubed", "misses", "dollars"]
    assert test["misses"]["value"] == pytest.approx(1 - test["recall"]["value"])
    assert again == test["misses"]
    assert all("misses" in one["metrics"] for one in record["metrics"]["slices"])
    assert made.gates["passed"]
    assert {one["column"] for one in record["metrics"]["slices"]} == {"depot", "trip:far", "depot × trip:far", "long"}
    assert [set(one) for one in record["configuration"]["metrics"][3:]] == [{"name", "function"}] * 3


def test_test_rows_that_were_trained_on_are_said(tmp_path):
    random = np.random.default_rng(0)
    rows = 900
    table = pl.DataFrame(
        {
            "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(rows)],
            "width": random.normal(size=rows),
            "height": random.normal(size=rows),
        }
    ).with_columns(good=(pl.col("width") + pl.col("height") > 0))
    copied = table[: rows // 10].with_columns(at=table["at"][-rows // 10 :])
    pl.concat([table[: -rows // 10], copied]).write_csv(tmp_path / "boxes.csv")
    made = carrara("init", "ws", "--data", "boxes.csv", "--label", "good", "--time", "at", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    said = carrara("train", "good", cwd=tmp_path / "ws")
    assert "have the features and the label of a training row" in said.stdout, said.stdout + said.stderr
    record = json.loads(carrara("model", "show", "good@1", "--json", cwd=tmp_path / "ws").stdout)
    overlap = record["summary"]["overlap"]
    assert overlap["suspicious"]
    assert overlap["rows"] >= rows // 10
    assert any("flatter the model" in warning for warning in record["summary"]["warnings"])
