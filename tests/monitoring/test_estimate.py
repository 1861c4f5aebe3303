"""Estimates without outcomes, with the outcomes that happened after all as the judge."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from carrara.evaluation.metrics import measure
from carrara.monitoring.estimate import AS_SAID, calibrations_of, estimated, estimated_of_classes
from carrara.monitoring.loss_estimate import alike_rows
from carrara.monitoring.possible_outcomes import Measured, PossibleClasses, PossibleNumbers, expected_metrics

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
        unaware = estimated_of_classes(said, CLASSES, calibrations=[AS_SAID] * 3)
        assert abs(unaware["accuracy"] - live["accuracy"]) > 3 * abs(found["accuracy"] - live["accuracy"])


def numbers(random: np.random.Generator, rows: int, far: float) -> tuple[pl.DataFrame, np.ndarray]:
    """Features, and errors that grow with one of them in one of two cities."""
    distance = random.uniform(0, far, rows)
    city = random.choice(["Ulm", "Bonn"], rows, p=[0.3, 0.7])
    errors = random.normal(0, 1 + np.where(city == "Ulm", distance, 0.0), rows)
    known = np.where(random.random(rows) < 0.01, np.nan, distance)
    return pl.DataFrame({"distance": known, "city": city, "idle": random.normal(size=rows)}), errors


def expected_numbers(errors: np.ndarray, tested: pl.DataFrame, window: pl.DataFrame, names: list[str]):
    """What is expected of a model that says three times the distance."""
    said = window["distance"].fill_nan(0.0).fill_null(0.0).to_numpy() * 3
    outcomes = PossibleNumbers(said, errors, alike_rows(errors, tested, window))
    return said, expected_metrics(outcomes, Measured("regression", said, names))


def test_the_errors_of_a_regression_are_those_of_rows_that_are_alike():
    random = np.random.default_rng(2)
    tested, errors = numbers(random, 20_000, far=10)
    for far in (10, 4):
        window, happened = numbers(random, 6_000, far)
        said, found = expected_numbers(errors, tested, window, ["rmse", "mae", "r2", "bias"])
        live = values(measure(said - happened, said, ("rmse", "mae", "r2", "bias"), kind="regression", bootstrap=0))
        for name in ("rmse", "mae"):
            assert found[name].value == pytest.approx(live[name], rel=0.06)
        assert found["r2"].value == pytest.approx(live["r2"], abs=0.02)
        assert found["bias"].value == pytest.approx(live["bias"], abs=0.1)


LABELS = ("macro_roc_auc", "macro_pr_auc", "micro_f1", "exact_match", "hamming_loss")


def labels(random: np.random.Generator, rows: int, sureness: float) -> tuple[np.ndarray, np.ndarray]:
    """What an over-confident model says of three labels that come each by itself, and which came."""
    logits = random.normal((0.8, 0.0, -1.0), sureness, (rows, 3))
    said, true = 1 / (1 + np.exp(-2 * logits)), 1 / (1 + np.exp(-logits))
    return said, (random.random((rows, 3)) < true).astype(float)


def test_several_labels_are_estimated_each_by_its_own_calibration():
    random = np.random.default_rng(4)
    said, happened = labels(random, 20_000, 1.5)
    calibrations = calibrations_of(happened, said)
    for sureness in (1.5, 0.4):
        said, happened = labels(random, 6_000, sureness)
        live = values(measure(happened, said, LABELS, kind="multilabel", bootstrap=0))
        found = Measured("multilabel", said, LABELS).mean(PossibleClasses("multilabel", said, calibrations))
        assert found == pytest.approx(live, abs=0.03)


def inside(found, happened, said, kind: str) -> list[bool]:
    live = measure(happened, said, tuple(found), kind=kind, bootstrap=0)
    return [one.low <= live[name].value <= one.high for name, one in found.items()]


def test_what_happens_lies_in_the_interval_in_about_95_of_100_windows():
    random = np.random.default_rng(5)
    held = []
    for _ in range(12):
        scores = random.uniform(0.05, 0.95, (500, 1))
        tested = random.uniform(0.05, 0.95, (1_000, 1))
        calibrations = calibrations_of((random.random((1_000, 1)) < tested).astype(float), tested)
        outcomes = PossibleClasses("binary", scores, calibrations)
        found = expected_metrics(outcomes, Measured("binary", scores[:, 0], ("roc_auc", "brier")))
        assert found["roc_auc"].high - found["roc_auc"].low < 0.12
        held += inside(found, random.random(500) < scores[:, 0], scores[:, 0], "binary")

        tested, errors = numbers(random, 1_000, far=10)
        window, happened = numbers(random, 500, far=10)
        said, found = expected_numbers(errors, tested, window, ["rmse", "r2"])
        held += inside(found, said - happened, said, "regression")
    assert np.mean(held) > 0.88


def test_the_interval_of_some_rows_is_narrowed_to_that_of_all():
    random = np.random.default_rng(6)
    scores = random.uniform(0.05, 0.95, 4_000)
    one, whole = (
        expected_metrics(
            PossibleClasses("binary", part[:, None], [AS_SAID]),
            Measured("binary", part, ("roc_auc",)),
            values={"roc_auc": 0.8},
            rows=4_000,
        )
        for part in (scores[::8], scores)
    )
    widths = [one["roc_auc"].high - one["roc_auc"].low, whole["roc_auc"].high - whole["roc_auc"].low]
    assert widths[0] == pytest.approx(widths[1], rel=0.3)


def test_a_window_that_is_empty_missing_or_of_one_value_never_breaks_an_estimate():
    random = np.random.default_rng(3)
    tested, errors = numbers(random, 1_000, far=10)
    gone = tested.with_columns(distance=pl.lit(None, pl.Float64), city=pl.lit("Rome"), idle=pl.lit(1.0))
    _, found = expected_numbers(errors, tested, gone, ["rmse", "mae", "r2"])
    assert np.isfinite([one.value for one in found.values()]).all()
    few = expected_numbers(np.ones(5), tested.head(5), gone.head(1), ["mae", "r2"])[1]
    assert few["mae"].value == few["mae"].low == few["mae"].high == 1.0
    assert few["r2"].as_dict() == {"value": None, "low": None, "high": None, "rows": 1}
    assert estimated(np.array([np.nan]), ["roc_auc"]) == {}
    assert estimated_of_classes(np.full((2, 3), np.nan), ["accuracy"], calibrations=[]) == {}
