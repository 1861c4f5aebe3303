"""`carrara model chart` and `carrara model parameters` of a trained model, and what its record says of the features."""

from __future__ import annotations

import json

import pytest

from commands import carrara


def test_charts_are_listed_printed_and_drawn(trained, tmp_path):
    listed = json.loads(carrara("model", "chart", "late@1", "--json", cwd=trained.root).stdout)
    assert {"roc_curve", "thresholds", "lift", "contributions", "learning_curve"} <= set(listed)
    spec = json.loads(carrara("model", "chart", "late@1", "roc", cwd=trained.root).stdout)
    assert spec["title"]["text"] == "ROC curve"
    target = tmp_path / "charts" / "far.png"
    made = carrara("model", "chart", "late@1", "dep", "--feature", "trip:far", "-o", str(target), cwd=trained.root)
    assert (made.returncode, made.stdout.strip()) == (0, str(target))
    assert target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lifts",), "Did you mean 'lift'"),
        (("roc", "-o", "roc.gif"), "there is no format of charts 'gif'"),
        (("dependence", "--feature", "trip:fare"), "Did you mean 'trip:far'"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(trained, arguments, said):
    found = carrara("model", "chart", "late@1", *arguments, cwd=trained.root)
    assert found.returncode != 0
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_what_was_learned_is_told(trained):
    found = json.loads(carrara("model", "parameters", "late@1", "--json", cwd=trained.root).stdout)
    assert found["kind"] == "trees"
    assert f"{found['trees']} trees" in carrara("model", "parameters", "late@1", cwd=trained.root).stdout


def test_the_record_has_every_feature_in_every_part_and_what_it_does(trained):
    record = trained.models.record("late@1")
    features = {one["name"]: one for one in record["features"]}
    parts = record["datasets"]["parts"]
    for one in features.values():
        assert {part: sum(counts) for part, counts in one["parts"].items()} == {
            part: parts[part]["rows"] for part in parts
        }
    far = features["trip:far"]
    assert far["permutation"]["metric"] == "roc_auc"
    assert far["permutation"]["fall"] > 0.05
    assert far["shap"]["mean_abs"] == max(one["shap"]["mean_abs"] for one in features.values())
    assert len(far["dependence"]["values"]) == len(far["dependence"]["answers"][0])
    assert record["summary"]["shap"]["method"] == "TreeSHAP"
    assert record["summary"]["overlap"]["suspicious"] is False


def test_the_report_shows_it_all(trained):
    page = trained.models.report("late@1").read_text()
    for section in ("thresholds", "charts", "slices", "fairness", "segments", "features", "trees"):
        assert f'id="{section}"' in page
    assert "mean answer by trip:far" in page
