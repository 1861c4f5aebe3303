"""The record of a version of each kind: every item of it is there, its page draws it, and its parameters are read."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
import numpy as np
import pytest

from carrara.models.learned.centres import read_centres
from carrara.models.registry import learned_files, opened
from carrara.models.signature import Signature
from carrara.pipelines.trees import learned_parameters, matrix_of
from commands import carrara
from kinds_of_models import KINDS

BINARY = {
    "roc_curve",
    "pr_curve",
    "calibration",
    "confusion_matrix",
    "score_distribution",
    "thresholds",
    "lift",
    "gain",
}
NUMBER = {"predicted_actual", "residuals", "residuals_by_prediction", "over_time"}
SERIES = {*NUMBER, "series_over_time", "error_by_horizon"}
EXPECTED = {
    # The metrics, the charts of the kind, the answers, the loss of its segments, and what it has learned.
    "binary": ({"roc_auc", "pr_auc", "log_loss", "brier"}, BINARY, ["probability"], "log loss", "trees"),
    "regression": ({"rmse", "mae", "r2"}, NUMBER, ["prediction"], "absolute error", "trees"),
    "multiclass": ({"accuracy", "log_loss", "macro_f1"}, {"confusion_matrix"}, ["probabilities"], "log loss", "linear"),
    "multilabel": ({"macro_roc_auc", "micro_f1"}, {"labels", "roc_curves"}, ["probabilities"], "log loss", "trees"),
    "ranking": ({"ndcg", "map"}, {"ndcg_by_places", "queries_by_ndcg"}, ["score"], None, "trees"),
    "clustering": ({"silhouette"}, {"cluster_sizes"}, ["distances", "cluster", "distance"], None, "clusters"),
    "series": ({"rmse", "mae", "r2"}, SERIES, ["prediction"], "absolute error", "trees"),
    "partitioned": ({"rmse", "mae", "r2"}, NUMBER, ["prediction", "node"], "absolute error", "linear"),
    "net": ({"roc_auc", "log_loss"}, BINARY, ["probability"], "log loss", "net"),
}


def quick(*kinds: str) -> list:
    """All kinds, of which these are looked at by `make test`."""
    return [kind if kind in kinds else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]


@pytest.mark.parametrize("kind", quick("binary", "multiclass", "multilabel", "ranking", "clustering", "partitioned"))
def test_every_item_of_the_record_is_there_for_each_kind(kinds, kind):
    metrics, charts, answers, loss, learned = EXPECTED[kind]
    record = kinds.workspace.models.record(kinds.trained(kind))
    assert record["trained_by"]
    assert datetime.fromisoformat(record["started_at"]) < datetime.fromisoformat(record["ended_at"])
    assert record["configuration"]["trainer"]["name"]
    assert record["configuration"]["features"]
    parts, training_set = record["datasets"]["parts"], record["datasets"]["training_set"]
    assert set(parts) == {"train", "validation", "test"}
    assert len(training_set["digest"]) == 64
    assert {source["version"] for source in record["datasets"]["sources"].values()} == {1}
    for feature in record["features"]:
        assert feature["statistics"]["rows"] == parts["train"]["rows"]
        assert feature["distribution"] or feature["dtype"] == "string"
        assert feature["permutation"] is not None
    importance = [feature["importance"] for feature in record["features"]]
    assert min(importance) >= 0
    assert sum(importance) == pytest.approx(1)
    assert metrics <= set(record["metrics"]["test"])
    assert set(record["metrics"]["validation"]) == set(record["metrics"]["test"])
    for value in record["metrics"]["test"].values():
        assert value["low"] <= value["value"] <= value["high"]
    assert record["metrics"]["slices"]
    assert record["metrics"]["loss"] == loss
    assert bool(record["metrics"]["segments"]) == (loss is not None)
    assert bool(record["metrics"]["mistakes"]) == (loss is not None)
    assert charts | {"feature_importance", "slice_bars"} <= set(record["charts"])
    assert record["summary"]["scores"]
    own = record["signature"]["serving_default"]
    assert [tensor["name"] for tensor in own["outputs"]] == answers
    assert [tensor["name"] for tensor in own["inputs"]] == [one["name"] for one in record["features"]]
    assert record["gates"]["passed"] is True
    assert record["code"]["definitions"]
    assert record["environment"]["distributions"]
    assert {edge["target"] for edge in record["lineage"]} >= {f"model:{kind}@1"}
    assert any(name.startswith("learned/") for name in record["files"])
    assert kinds.workspace.models.parameters(f"{kind}@1")["kind"] == learned
    assert msgspec.json.decode(msgspec.json.encode(record)) == record


@pytest.mark.parametrize("kind", quick("multilabel", "clustering", "partitioned"))
def test_the_page_and_the_card_of_each_kind_show_what_is_in_its_record(kinds, kind, tmp_path):
    models, version = kinds.workspace.models, kinds.trained(kind)
    page = models.report(version, tmp_path / "report.html").read_text()
    sections = re.findall(r'<section id="([a-z-]+)"', page)
    assert sections[:2] == ["metrics", "thresholds"] if kind in ("binary", "net") else ["metrics", "charts"]
    learned = EXPECTED[kind][4]
    assert ("trees" in sections, "learned" in sections) == (learned == "trees", learned != "trees")
    assert ("nodes" in sections) == (kind == "partitioned")
    assert {"slices", "features", "datasets", "configuration", "lineage", "signature", "code"} <= set(sections)
    assert "could not be drawn" not in page
    assert page.count("<figure") >= len(models.record(version)["charts"]) - 1
    card = models.card(version)
    assert all(f"| {name} |" in card for name in EXPECTED[kind][0])


def test_the_parameters_of_clusters_are_centres_that_tell_how_far_a_row_is(kinds):
    version = kinds.workspace.models.get(kinds.trained("clustering"))
    files = learned_files(kinds.workspace.stores, version)
    centres, rows = read_centres(files), kinds.rows("clustering")
    found = centres.distances(matrix_of(_signature(kinds, version), files.get("transforms.onnx"), rows))
    with opened(kinds.workspace.stores, version) as servable:
        answered = servable.run(servable.signature.tensors(rows))["distances"]
    np.testing.assert_allclose(found, answered, rtol=1e-4, atol=1e-5)
    told = learned_parameters(kinds.workspace.stores, version)
    assert sum(told["rows"]) == kinds.workspace.models.record(str(version))["datasets"]["parts"]["train"]["rows"]
    shown = carrara("model", "parameters", "clustering", "-w", kinds.workspace.root)
    assert "cluster 2" in shown.stdout
    assert "offer:stars" in shown.stdout


def test_each_node_of_a_partitioned_model_has_parameters_of_its_own(kinds):
    version = kinds.trained("partitioned")
    own = {node: kinds.workspace.models.parameters(version, node=node)["intercepts"] for node in ("at", "it")}
    assert own["at"] != own["it"]


def test_the_trees_of_each_label_show_the_share_of_rows_that_have_it(kinds):
    trees = kinds.workspace.models.trees(kinds.trained("multilabel"), seen=True)
    by_label = {trees.view(number).output: trees.view(number).nodes[0].label for number in (0, 1)}
    record = kinds.workspace.models.record("multilabel@1")
    train = kinds.workspace.datasets.read("offers").collect()[: record["datasets"]["parts"]["train"]["rows"]]
    assert by_label == {name: pytest.approx(train[name].mean()) for name in ("cheap", "good")}


def _signature(kinds, version):
    return Signature.from_dict(kinds.workspace.models.record(str(version))["signature"]["serving_default"])
