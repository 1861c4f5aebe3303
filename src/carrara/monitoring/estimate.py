"""How good a model probably is while no outcome is known: confidence-based performance estimation.

A calibrated score of 0.8 is right eight times in ten. So each row counts as positive with its score's weight and as
negative with the rest, and every metric has an expected value: CBPE, as NannyML describes it; Białek, Kuberski,
Perrakis and Bifet, "Estimating model performance under covariate shift without labels", 2024. It sees what a
shift of the inputs does to performance, and not a change of what the inputs mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.metrics import metric
from carrara.evaluation.ranked import RankedRows

Floats = npt.NDArray[np.float64]


def estimated(
    scores: Floats, names: Sequence[str], *, calibration: tuple[Floats, Floats] | None = None, threshold: float = 0.5
) -> dict[str, float]:
    """The expected value of each metric of a binary label, from scores (0..1) of shape (rows,).

    `calibration` is scores and the rates of positives that were measured there, both rising.
    """
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return {}
    chances = scores if calibration is None else np.interp(scores, *calibration)
    both = np.concatenate([scores, scores])
    order = np.argsort(-both, kind="stable")
    labels = np.concatenate([np.ones(scores.size), np.zeros(scores.size)])[order]
    weights = np.concatenate([chances, 1 - chances])[order]
    rows = RankedRows(labels, np.clip(both[order], 0.0, 1.0), threshold)
    return {name: float(metric(name, "binary").kernel(rows, weights)) for name in names}


def calibration_of(record: Mapping[str, Any]) -> tuple[Floats, Floats] | None:
    """What the evaluation measured of a version's calibration; None where its record has no such chart."""
    values = _values(record.get("charts", {}).get("calibration", {}))
    points = sorted({(v["x"], v["y"]) for v in values if {"x", "y", "rows"} <= v.keys()})
    if len(points) < 2:
        return None
    scores, rates = np.array(points, np.float64).T
    return scores, np.maximum.accumulate(rates)


def _values(spec: Any) -> list[dict[str, Any]]:
    """The rows of data of a chart, wherever in it they stand."""
    if isinstance(spec, Mapping):
        found = spec.get("values")
        own = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return own + [row for key, value in spec.items() if key != "values" for row in _values(value)]
    return [row for item in spec for row in _values(item)] if isinstance(spec, list) else []
