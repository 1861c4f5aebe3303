"""Gates of a training: the champion asked on the same rows, the artifact served for real, the data looked at."""

from __future__ import annotations

import pytest
from test_train import edit

from carrara.core.errors import CheckFailed

GATES = """gates=(
        carrara.not_worse_than_champion("roc_auc"),
        carrara.no_slice_worse_than_champion("roc_auc", min_rows=50),
        carrara.safe_to_serve(),
        carrara.latency_at_most(5_000),
        carrara.size_at_most(0.002),
        carrara.data_validated(),
    ),"""


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
    with pytest.raises(CheckFailed, match="on the same"):
        changed.deploy("late@2")
