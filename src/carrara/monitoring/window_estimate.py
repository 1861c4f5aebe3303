"""The metrics of a window as they probably are, and where they will be, before any outcome is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.evaluation.metrics import MetricValue
from carrara.monitoring.drift import one_score
from carrara.monitoring.estimate import AS_SAID, calibration_of, calibrations_of, estimated, estimated_of_classes
from carrara.monitoring.judge import Judge
from carrara.monitoring.loss_estimate import alike_rows
from carrara.monitoring.possible_outcomes import Measured, PossibleClasses, PossibleNumbers, expected_metrics

Floats = npt.NDArray[np.float64]

_DRAWN_CELLS, _MEASURED_CELLS = 8_000, 200_000
"""Scores that intervals are drawn by, a hundred times and more; and that the metrics of several labels are."""


def estimate_window(judge: Judge, answers: pl.DataFrame, sample: pl.DataFrame) -> dict[str, Any] | None:
    """The metrics as they probably are, without an outcome; None where that cannot be known.

    By the scores of all `answers` where they are probabilities, by the features of a `sample` for a number. A ranking,
    and what is weighted by a column that only the outcomes bring, is not estimated.
    """
    if answers.is_empty() or judge.rule.weight is not None:
        return None
    match judge.kind:
        case "binary":
            found = _of_two(judge, one_score(judge.scores_of(answers)))
        case "multiclass" | "multilabel":
            found = _of_several(judge, judge.scores_of(answers))
        case "regression":
            found = _of_numbers(judge, sample)
        case _:
            return None
    return {name: value.as_dict() for name, value in found.items()} or None


def _of_two(judge: Judge, scores: Floats) -> dict[str, MetricValue]:
    scores = scores[np.isfinite(scores)]
    calibration = calibration_of(judge.record)
    values = estimated(scores, judge.names, calibration=calibration, threshold=judge.threshold)
    drawn = _evenly(scores, _DRAWN_CELLS)
    outcomes = PossibleClasses("binary", drawn[:, None], [calibration or AS_SAID])
    measured = Measured("binary", drawn, judge.names, judge.threshold)
    return expected_metrics(outcomes, measured, values=values, rows=scores.size) if values else {}


def _of_several(judge: Judge, scores: Floats) -> dict[str, MetricValue]:
    scores = scores[np.isfinite(scores).all(axis=1)]
    if judge.tested is None or not scores.size:
        return {}
    calibrations = calibrations_of(judge.tested.labels, judge.tested.scores)
    if judge.kind == "multilabel":
        scores = _evenly(scores, _MEASURED_CELLS)
        of_all = PossibleClasses(judge.kind, scores, calibrations)
        values = Measured(judge.kind, scores, judge.names, judge.threshold).mean(of_all)
    else:
        values = estimated_of_classes(scores, judge.names, calibrations=calibrations)
    drawn = _evenly(scores, _DRAWN_CELLS)
    measured = Measured(judge.kind, drawn, judge.names, judge.threshold)
    return expected_metrics(PossibleClasses(judge.kind, drawn, calibrations), measured, values=values, rows=len(scores))


def _of_numbers(judge: Judge, sample: pl.DataFrame) -> dict[str, MetricValue]:
    tested = judge.tested
    predictions = judge.scores_of(sample)
    sample, predictions = sample.filter(np.isfinite(predictions)), predictions[np.isfinite(predictions)]
    if tested is None or not predictions.size:
        return {}
    names = [name for name in tested.features.columns if name in sample.columns]
    known = tested.features.select(names).with_columns(pl.Series(judge.output, tested.scores))
    errors = tested.scores - tested.labels
    alike = alike_rows(errors, known, sample.select(*names, judge.output))
    outcomes = PossibleNumbers(predictions, errors, alike)
    return expected_metrics(outcomes, Measured("regression", predictions, judge.names))


def _evenly(scores: Floats, cells: int) -> Floats:
    return scores[:: max(-(-scores.size // cells), 1)]
