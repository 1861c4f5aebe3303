"""Gates of a training: the champion asked on the same rows, the artifact served for real, the data looked at."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sklearn.metrics import recall_score
from test_train import edit

sys.path.insert(0, str(Path(__file__).parents[1] / "monitoring"))
from served import log_trips, trips_between

from carrara.core.errors import CheckFailed
from carrara.metadata.deployments import Deployment
from carrara.serving.live_gates import judge_live
from carrara.workspace.workspace import Workspace

GATES = """gates=(
        carrara.not_worse_than_champion("roc_auc"),
        carrara.no_slice_worse_than_champion("roc_auc", min_rows=50),
        carrara.safe_to_serve(),
        carrara.latency_at_most(5_000),
        carrara.size_at_most(0.002),
        carrara.data_validated(),
        carrara.gap_at_most("roc_auc", 0.0, between="depot", proven=True),
        carrara.gap_not_wider_than_champion("roc_auc", between="depot", by=0.5),
        carrara.at_least("recall", 0.9999),
    ),
    threshold=0.42,"""


def test_a_worse_model_is_found_on_the_same_rows_and_the_others_gates_say_what_they_saw(trained):
    changed = edit(trained, 'gates=(carrara.at_least("roc_auc", 0.5),),', GATES)
    changed = edit(changed, "trees=40, depth=3", "trees=1, depth=1")
    found = changed.train("late")
    results = {result["gate"]: result for result in found.gates["results"]}
    worse = results["roc_auc not worse than the champion"]
    assert not worse["passed"]
    assert "on the same" in worse["message"]
    by_slice = results["no slice of 50 rows with roc_auc worse than the champion's"]
    assert not by_slice["passed"]
    assert "of the champion's" in by_slice["message"]
    assert results["safe to serve"]["passed"], results["safe to serve"]["message"]
    assert "the gRPC server" in results["safe to serve"]["message"]
    assert results["p99 latency at most 5000 ms"]["passed"]
    assert results["size at most 0.002 MB"]["found"] > 0
    assert results["data validated"]["passed"]
    record = changed.models.record("late@2")["gates"]
    assert record["champion"] == "late@1"
    assert record["paired"]["roc_auc"]["high"] < 0
    assert record["trial"]["rows"] > 100
    gap = results["roc_auc between depot at most 0 apart, proven"]
    assert not gap["passed"]
    assert gap["found"] > 0
    assert results["roc_auc between depot not farther apart than the champion's by 0.5"]["passed"]
    with pytest.raises(CheckFailed, match="on the same"):
        changed.deploy("late@2")

    start = datetime(2024, 1, 22, tzinfo=UTC)
    trips = log_trips(changed, trips_between(changed, start, start + timedelta(days=6)), version=2)
    canary, primary = (Deployment("late", "late", number, "ada", start, None) for number in (2, 1))
    with Workspace(changed.root, clock=lambda: datetime(2024, 2, 10, tzinfo=UTC)) as later:
        live = judge_live(later.stores, canary, primary)
        log = later.predictions("late").join(trips.select("prediction_id", "late"), on="prediction_id")
    at_its_threshold, at_half = (recall_score(log["late"], log["probability"] >= bound) for bound in (0.42, 0.5))
    assert at_half < 1
    assert live.against == []
    (told,) = live.told
    assert f"on {log.height} live outcomes: recall {at_its_threshold:.4g} [" in told
