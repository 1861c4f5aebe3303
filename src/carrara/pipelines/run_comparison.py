"""Runs side by side: what they were given, and what they measured last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from carrara.metadata.runs import Run

Measured = Mapping[str, Sequence[tuple[int, float]]]


def compare_runs(runs: Sequence[Run], measured: Mapping[str, Measured]) -> dict[str, list[dict[str, Any]]]:
    """Every parameter and every metric of runs, with a value of each run, None where it has none.

    `measured` has by a run's id what `run_metrics` gives of it.
    """
    parameters = dict.fromkeys(name for run in runs for name in run.parameters)
    metrics = dict.fromkeys(name for run in runs for name in measured[run.id])
    return {
        "parameters": [
            {"parameter": name, "values": [run.parameters.get(name) for run in runs]} for name in parameters
        ],
        "metrics": [
            {"metric": name, "values": [_last(measured[run.id].get(name)) for run in runs]} for name in metrics
        ],
    }


def _last(points: Sequence[tuple[int, float]] | None) -> float | None:
    return points[-1][1] if points else None
