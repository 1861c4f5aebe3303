"""Charts: few points, the right ones, and drawn by the real Vega-Lite."""

from __future__ import annotations

import json

import numpy as np
import pytest
import vl_convert
from sklearn import metrics as judge

from carrara.evaluation.charts import by_version, charts_of, feature_importance, learning_curve, slice_bars, theme
from carrara.evaluation.charts.vega import POINTS
from carrara.evaluation.metrics import labelled_rows
from carrara.evaluation.slices import measure_slices

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.random(5_000)
LABELS = (RANDOM.random(5_000) < SCORES).astype(int)
CARRIERS = RANDOM.choice(["AA", "UA", "<script>"], 5_000)
SLICES = measure_slices(LABELS, SCORES, {"carrier": CARRIERS}, ["roc_auc"], bootstrap=10)


def binary_charts(labels, scores, threshold=0.5, **options):
    return charts_of("binary", labelled_rows("binary", labels, scores, threshold=threshold, **options))


CHARTS = {
    **binary_charts(LABELS, SCORES),
    "slice_bars": slice_bars(SLICES, "roc_auc"),
    "feature_importance": feature_importance(["distance", "<b>hour</b>"], [0.25, 0.75]),
    "learning_curve": learning_curve({"train": [0.7, 0.5, 0.4], "validation": [0.7, 0.6, 0.65]}),
}


def points(value):
    """Every list of inline data in a spec."""
    if isinstance(value, dict):
        if isinstance(value.get("values"), list):
            yield value["values"]
        for item in value.values():
            yield from points(item)
    elif isinstance(value, list):
        for item in value:
            yield from points(item)


def test_a_binary_classifier_has_its_standard_charts():
    curves = ["roc_curve", "pr_curve", "calibration", "score_distribution", "confusion_matrix"]
    standard = [*curves, "thresholds", "gain", "lift"]
    assert list(CHARTS) == [*standard, "slice_bars", "feature_importance", "learning_curve"]


def test_other_kinds_have_theirs():
    numbers = labelled_rows("regression", SCORES * 10, SCORES * 10 + RANDOM.normal(size=5_000))
    several = RANDOM.dirichlet([2, 1, 1], 5_000)
    classified = labelled_rows("multiclass", several.argmax(axis=1), several)
    for kind, rows, names in (
        ("regression", numbers, ["predicted_actual", "residuals", "residuals_by_prediction"]),
        ("multiclass", classified, ["confusion_matrix", "roc_curves", "pr_curves", "calibration"]),
    ):
        charts = charts_of(kind, rows, ["a", "b", "c"])
        assert list(charts) == names
        for chart in charts.values():
            assert chart["title"]["text"] in vl_convert.vegalite_to_svg(chart, allowed_base_urls=[])


def test_the_thresholds_have_what_each_would_give():
    (table,) = (values for values in points(CHARTS["thresholds"]) if "tp" in values[0])
    at = next(point for point in table if point["threshold"] == 0.3)
    predicted = SCORES >= 0.3
    assert at["precision"] == pytest.approx(judge.precision_score(LABELS, predicted), abs=1e-5)
    assert at["recall"] == pytest.approx(judge.recall_score(LABELS, predicted), abs=1e-5)
    assert [at[name] for name in ("tn", "fp", "fn", "tp")] == judge.confusion_matrix(LABELS, predicted).ravel().tolist()


def test_lift_and_gain_are_what_the_first_tenth_of_the_rows_holds():
    first = LABELS[np.argsort(-SCORES)][:500].sum()
    assert CHARTS["gain"]["layer"][-1]["data"]["values"][0]["y"] == pytest.approx(first / LABELS.sum(), abs=1e-5)
    assert CHARTS["lift"]["layer"][-1]["data"]["values"][0]["y"] == pytest.approx(first / LABELS.sum() * 10, abs=1e-4)


def test_a_row_of_weight_two_is_drawn_as_two_rows():
    labels, scores, twice = LABELS[:200], SCORES[:200], np.arange(200) < 100
    weighted = binary_charts(labels, scores, weights=1.0 + twice)
    doubled = binary_charts(np.append(labels, labels[twice]), np.append(scores, scores[twice]))
    for name in ("calibration", "score_distribution", "confusion_matrix", "thresholds"):
        assert weighted[name] == doubled[name], name


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_drawn_small_titled_and_in_the_theme(name):
    chart = CHARTS[name]
    svg = vl_convert.vegalite_to_svg(chart, allowed_base_urls=[])
    assert chart["title"]["text"] in svg
    assert chart["description"].startswith(chart["title"]["text"])
    assert chart["$schema"].endswith("/v6.json")
    assert chart["config"] == theme()
    assert 0 < max(len(values) for values in points(chart)) <= POINTS
    json.dumps(chart, allow_nan=False)


def test_the_thinned_roc_curve_keeps_its_area_and_its_ends():
    (curve,) = (values for values in points(CHARTS["roc_curve"]) if len(values) > 2)
    x, y = [p["x"] for p in curve], [p["y"] for p in curve]
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert judge.auc(x, y) == pytest.approx(judge.roc_auc_score(LABELS, SCORES), abs=1e-3)


def test_the_dot_of_a_curve_stands_at_the_threshold():
    predicted = SCORES >= 0.5
    recall = judge.recall_score(LABELS, predicted)
    (roc_dot,) = (values[0] for values in points(CHARTS["roc_curve"]) if len(values) == 1)
    (pr_dot,) = (values[0] for values in points(CHARTS["pr_curve"]) if len(values) == 1)
    assert roc_dot == {
        "x": pytest.approx(predicted[LABELS == 0].mean(), abs=1e-5),
        "y": pytest.approx(recall, abs=1e-5),
    }
    assert pr_dot == {
        "x": pytest.approx(recall, abs=1e-5),
        "y": pytest.approx(judge.precision_score(LABELS, predicted), abs=1e-5),
    }


def test_the_confusion_matrix_is_that_of_scikit_learn():
    (cells,) = points(CHARTS["confusion_matrix"])
    expected = judge.confusion_matrix(LABELS, SCORES >= 0.5)
    for cell in cells:
        assert cell["rows"] == expected[int(cell["label"]), int(cell["predicted"])]


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_leave_the_curves_out_and_draw_the_rest(label):
    charts = binary_charts(np.full(50, label), SCORES[:50], 0.5)
    assert list(charts) == ["calibration", "score_distribution", "confusion_matrix"]
    for chart in charts.values():
        vl_convert.vegalite_to_svg(chart)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_takes_all_or_nothing_can_be_drawn(threshold):
    for chart in binary_charts([0, 1, 1, 0], [0.2, 0.4, 0.4, 0.9], threshold).values():
        vl_convert.vegalite_to_svg(chart)


def test_feature_importance_is_ordered_and_says_what_it_leaves_out():
    chart = feature_importance([f"f{i}" for i in range(30)], [i / 435 for i in range(30)])
    (bars,) = points(chart)
    assert [bar["feature"] for bar in bars[:2]] == ["f29", "f28"]
    assert "6 smaller ones are not drawn" in chart["title"]["subtitle"]


def test_the_learning_curve_marks_the_round_that_is_kept():
    assert CHARTS["learning_curve"]["layer"][-1]["data"]["values"] == [{"x": 2, "y": 0.6}]
    long = learning_curve({"train": np.linspace(1, 0, 5_000).tolist(), "validation": np.linspace(1, 0, 5_000).tolist()})
    assert len(long["layer"][1]["data"]["values"]) <= 500
    assert long["layer"][1]["data"]["values"][-1]["x"] == 5_000


def test_the_versions_of_a_model_are_a_line_and_the_one_looked_at_a_dot():
    chart = by_version({3: 0.8, 1: 0.7, 2: None}, "roc_auc", 3)
    curve, _, dot = points(chart)
    assert [point["x"] for point in curve] == [1, 3]
    assert dot == [{"x": 3, "y": 0.8}]
    assert "Versions" in vl_convert.vegalite_to_svg(chart)
