"""Charts of numbers over time: the points are the means they say, however many rows there are."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.evaluation.charts.forecasts import error_by_horizon, folds_over_time, over_time, series_over_time
from carrara.evaluation.slices import coded
from carrara.models.drawing import drawn

DAY = 86_400_000_000
RANDOM = np.random.default_rng(0)


def test_few_times_are_drawn_as_they_are():
    times = np.repeat(np.arange(5) * DAY, 2)
    labels, scores = np.arange(10.0), np.arange(10.0) + 1
    points = over_time(times, labels, scores)["data"]["values"]
    actual = [(one["time"], one["value"]) for one in points if one["sort"] == "actual"]
    assert actual == [(day * DAY // 1_000, 2 * day + 0.5) for day in range(5)]
    assert [one["value"] for one in points if one["sort"] == "predicted"] == [1.5, 3.5, 5.5, 7.5, 9.5]


def test_many_times_are_stretches_whose_means_weigh_up_to_that_of_all_rows():
    times = np.sort(RANDOM.integers(0, 900 * DAY, 50_000))
    labels = RANDOM.normal(size=50_000)
    points = [one for one in over_time(times, labels, labels)["data"]["values"] if one["sort"] == "actual"]
    assert len(points) == 120
    counts, _ = np.histogram(times, bins=120)
    assert np.average([one["value"] for one in points], weights=counts) == pytest.approx(labels.mean(), abs=1e-4)


def test_the_longest_series_are_drawn_at_the_shortest_horizon():
    series = coded(np.repeat(["a", "b", "c", "d", "e"], [9, 8, 7, 6, 2]))
    times, steps = np.arange(32) * DAY, np.tile([1, 2], 16)
    spec = series_over_time(times, np.arange(32.0), np.zeros(32), series, steps)
    assert {one["series"] for one in spec["data"]["values"]} == {"a", "b", "c", "d"}
    assert {one["value"] for one in spec["data"]["values"] if one["sort"] == "actual"} <= set(range(0, 32, 2))
    assert "1 other series" in spec["title"]["subtitle"]


def test_the_error_by_horizon_is_the_mean_absolute_one_of_each():
    labels, scores, steps = np.zeros(6), np.array([1.0, -3, 2, 2, 5, -5]), np.array([1, 1, 2, 2, 3, 3])
    points = error_by_horizon(labels, scores, steps)["data"]["values"]
    assert [(one["x"], one["y"]) for one in points] == [(1, 2.0), (2, 2.0), (3, 5.0)]
    assert points[0]["low"] < 2 < points[0]["high"]


def test_they_are_drawn_offline():
    times, numbers = np.arange(40) * DAY, RANDOM.normal(size=40)
    folds = [(0, times[:20], numbers[:20], numbers[:20]), (20 * DAY, times[20:], numbers[20:], numbers[20:])]
    for spec in (
        folds_over_time(folds),
        over_time(times, numbers, numbers + 1),
        series_over_time(times, numbers, numbers, coded(np.repeat("a", 40)), np.ones(40, int)),
    ):
        assert b"<svg" in drawn(spec, "svg")
