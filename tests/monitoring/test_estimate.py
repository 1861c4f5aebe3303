"""Estimates without outcomes, with the outcomes that happened after all as the judge."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from carrara.evaluation.metrics import measure
from carrara.monitoring.estimate import calibrations_of, estimated, estimated_of_classes
from carrara.monitoring.loss_estimate import estimated_errors

BINARY = ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "recall")
CLASSES = ("accuracy", "log_loss", "brier", "macro_f1", "macro_roc_auc", "top_accuracy@2")


def values(measured) -> dict[str, float]:
    return {name: one.value for name, one in measured.items()}


def test_calibrated_scores_tell_what_a_shift_of_them_does():
    random = np.random.default_rng(0)
    for low, high in ((0.05, 0.95), (0.4, 0.6)):
        scores = random.uniform(low, high, 60_000)
        happened = random.random(60_000) < scores
        live = values(measure(happened, scores, BINARY, bootstrap=0))
        assert estimated(scores, BINARY) == pytest.approx(live, abs=0.01)


def classes(random: np.random.Generator, rows: int, sureness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True probabilities of three classes, what an over-confident model says of them, and what happened."""
    logits = random.normal((0.8, 0.0, -0.5), sureness, (rows, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = true**2 / (true**2).sum(axis=1, keepdims=True)
    happened = (random.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return true, said, happened


def test_probabilities_of_several_classes_are_calibrated_and_then_tell_the_same():
    random = np.random.default_rng(1)
    _, said, happened = classes(random, 20_000, 1.5)
    calibrations = calibrations_of(happened.astype(float), said)
    for sureness in (1.5, 0.4):
        _, said, happened = classes(random, 40_000, sureness)
        live = values(measure(happened, said, CLASSES, kind="multiclass", bootstrap=0))
        found = estimated_of_classes(said, CLASSES, calibrations=calibrations)
        assert found == pytest.approx(live, abs=0.03)
        identity = [(np.array([0.0, 1.0]),) * 2] * 3
        unaware = estimated_of_classes(said, CLASSES, calibrations=identity)
        assert abs(unaware["accuracy"] - live["accuracy"]) > 3 * abs(found["accuracy"] - live["accuracy"])


def numbers(random: np.random.Generator, rows: int, far: float) -> tuple[pl.DataFrame, np.ndarray]:
    """Features, and errors that grow with one of them in one of two cities."""
    distance = random.uniform(0, far, rows)
    city = random.choice(["Ulm", "Bonn"], rows, p=[0.3, 0.7])
    errors = random.normal(0, 1 + np.where(city == "Ulm", distance, 0.0), rows)
    known = np.where(random.random(rows) < 0.01, np.nan, distance)
    return pl.DataFrame({"distance": known, "city": city, "idle": random.normal(size=rows)}), errors


def test_the_errors_of_a_regression_are_those_of_rows_that_are_alike():
    random = np.random.default_rng(2)
    tested, errors = numbers(random, 20_000, far=10)
    for far in (10, 4):
        window, happened = numbers(random, 20_000, far)
        found = estimated_errors(errors, tested, window, ["rmse", "mae", "r2"])
        assert set(found) == {"rmse", "mae"}
        assert found["mae"] == pytest.approx(np.abs(happened).mean(), rel=0.06)
        assert found["rmse"] == pytest.approx(np.sqrt((happened**2).mean()), rel=0.06)


def test_a_window_that_is_empty_missing_or_of_one_value_never_breaks_an_estimate():
    random = np.random.default_rng(3)
    tested, errors = numbers(random, 1_000, far=10)
    gone = tested.with_columns(distance=pl.lit(None, pl.Float64), city=pl.lit("Rome"), idle=pl.lit(1.0))
    assert np.isfinite(list(estimated_errors(errors, tested, gone, ["rmse", "mae"]).values())).all()
    assert estimated_errors(np.ones(5), tested.head(5), gone.head(1), ["mae"]) == {"mae": 1.0}
    assert estimated(np.array([np.nan]), ["roc_auc"]) == {}
    assert estimated_of_classes(np.full((2, 3), np.nan), ["accuracy"], calibrations=[]) == {}
