"""An evaluation as a whole."""

from __future__ import annotations

import json

import numpy as np

from carrara.evaluation.baseline import RateBaseline
from carrara.evaluation.evaluate import Evaluation, evaluate
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import better_than_baseline

RANDOM = np.random.default_rng(0)
HOUR = RANDOM.integers(0, 24, 3_000)
WIND = RANDOM.normal(size=3_000)
CHANCE = 1 / (1 + np.exp(-(WIND + HOUR / 12 - 2)))
LABELS = RANDOM.random(3_000) < CHANCE


def evaluated(**options):
    baseline = RateBaseline.fit({"hour": HOUR}, LABELS).score({"hour": HOUR})
    columns = {"hour": HOUR // 6, "wind": WIND}
    return evaluate(LABELS, CHANCE, slice_columns=columns, baseline_scores=baseline, **options)


def test_a_model_that_knows_more_is_better_than_its_baseline():
    evaluation = evaluated()
    assert evaluation.rows == 3_000
    assert better_than_baseline("roc_auc", by=0.05).judge(Evidence(evaluation)).passed
    assert [one.column for one in evaluation.slices] == ["hour"] * 4 + ["wind"] * 4
    assert "slice_bars" in evaluation.charts


def test_an_evaluation_is_json_and_comes_back():
    evaluation = evaluated(metrics=["roc_auc", "f1"])
    text = json.dumps(evaluation.as_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)).as_dict() == evaluation.as_dict()


def test_one_seed_gives_one_evaluation():
    first, second = (evaluated(metrics=["roc_auc"], seed=3) for _ in range(2))
    assert first.as_dict() == second.as_dict()


def test_the_threshold_moves_every_part():
    low, high = evaluated(threshold=0.2), evaluated(threshold=0.8)
    assert low.metrics["recall"].value > high.metrics["recall"].value
    assert low.slices[0].metrics["recall"].value > high.slices[0].metrics["recall"].value
    assert "threshold 0.2" in low.charts["roc_curve"]["title"]["subtitle"]


def test_without_slices_and_baseline_the_whole_is_still_measured():
    evaluation = evaluate([0, 1, 0, 1], [0.1, 0.9, 0.4, 0.6])
    assert evaluation.metrics["roc_auc"].value == 1
    assert evaluation.baseline == {}
    assert evaluation.slices == ()
    assert "slice_bars" not in evaluation.charts


def test_crosses_weights_and_weak_slices_are_part_of_it():
    labels = np.where((HOUR >= 12) & (WIND > 0), ~LABELS, LABELS)
    columns = {"hour": HOUR // 12, "side": np.where(WIND > 0, "up", "down")}
    found = evaluate(
        labels,
        CHANCE,
        metrics=["log_loss"],
        slice_columns=columns,
        crosses=[("hour", "side")],
        searched_columns=columns,
        weights=np.full(3_000, 2.0),
    )
    assert len([one for one in found.slices if one.column == "hour × side"]) == 4
    assert found.weak_slices[0].conditions == {"hour": "1", "side": "up"}
    assert {one.metric for one in found.fairness} >= {"log_loss", "recall", "predicted_rate"}
    assert found.segments[-1]["losses"] > found.segments[0]["losses"]
    assert found.metrics["log_loss"].value == evaluate(labels, CHANCE, metrics=["log_loss"]).metrics["log_loss"].value


def test_a_slice_of_one_class_leaves_what_is_undefined_empty():
    found = evaluate(LABELS, CHANCE, metrics=["roc_auc"], slice_columns={"late": LABELS})
    assert [one.as_dict()["metrics"]["roc_auc"]["value"] for one in found.slices] == [None, None]


def test_of_very_many_rows_some_are_searched():
    labels = np.where(HOUR >= 12, ~LABELS, LABELS)
    found = evaluate(labels, CHANCE, metrics=["brier"], searched_columns={"hour": HOUR[::2] // 12}, searched_step=2)
    assert found.weak_slices[0].conditions == {"hour": "1"}
