"""A model's gates held against what came true of a canary's predictions, and of the primary's beside it.

Outcomes come late: as long as too few are known, nothing is said, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carrara.core.errors import DataError, NotFoundError
from carrara.evaluation.gates import AtLeast, AtMost, NotWorseThanChampion
from carrara.evaluation.metrics import Metric, metric
from carrara.metadata.deployments import Deployment
from carrara.models.address import ModelAddress
from carrara.models.registry import ModelVersion, recorded_definitions, resolve
from carrara.monitoring.live import live_metrics
from carrara.storage.stores import Stores

FEWEST_OUTCOMES = 100

Metrics = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class LiveJudgement:
    """`against` are the gates that a canary's outcomes break for certain; `told` is what was looked at."""

    against: list[str]
    told: list[str]


def judge_live(stores: Stores, canary: Deployment, primary: Deployment) -> LiveJudgement:
    """The gates of the canary's definition on outcomes since it began, each once, by intervals of 95 %."""
    version = resolve(stores, ModelAddress(canary.model, canary.version))
    gates = [
        gate
        for gate in recorded_definitions(stores, version).of_kind("model")[canary.model].gates
        if isinstance(gate, AtLeast | AtMost | NotWorseThanChampion)
    ]
    metrics = list({str(gate.metric): gate.metric for gate in gates}.values())
    if not metrics:
        return LiveJudgement([], [])
    ours, known = _measured(stores, version, canary.started_at, metrics)
    if ours is None:
        return LiveJudgement(
            [], [f"gates: {known:,} outcomes are known, fewer than {FEWEST_OUTCOMES}: not judged live"]
        )
    other = resolve(stores, ModelAddress(primary.model, primary.version))
    theirs, _ = _measured(stores, other, canary.started_at, metrics)
    broken: list[str] = []
    told: list[str] = []
    for gate in gates:
        said = _judged(gate, ours, theirs or {})
        if said is not None:
            (broken if said[0] else told).append(f"gate on {known:,} live outcomes: {said[1]}")
    return LiveJudgement(broken, told)


def _measured(
    stores: Stores, version: ModelVersion, since: datetime, metrics: list[str | Metric]
) -> tuple[Metrics | None, int]:
    try:
        found, known = live_metrics(stores, version, since, metrics)
    except (DataError, NotFoundError):  # nothing was logged
        return None, 0
    return (found if known >= FEWEST_OUTCOMES else None), known


def _judged(gate: AtLeast | AtMost | NotWorseThanChampion, ours: Metrics, theirs: Metrics) -> tuple[bool, str] | None:
    """Whether a gate is broken for certain, and in words; None for one that live outcomes say nothing of."""
    name = str(gate.metric)
    found = ours.get(name, {})
    if found.get("value") is None:
        return None
    said = f"{name} {found['value']:.4g} [{found['low']:.4g}, {found['high']:.4g}]"
    if isinstance(gate, AtLeast):
        return found["high"] < gate.value, f"{said}, at least {gate.value:g} is asked"
    if isinstance(gate, AtMost):
        return found["low"] > gate.value, f"{said}, at most {gate.value:g} is asked"
    if theirs.get(name, {}).get("value") is None:
        return None
    sign, other = 1 if metric(gate.metric).greater_is_better else -1, theirs[name]
    best = found["high"] if sign > 0 else found["low"]
    worst = other["low"] if sign > 0 else other["high"]
    beside = f"{other['value']:.4g} [{other['low']:.4g}, {other['high']:.4g}] of the primary"
    return sign * (best - worst) < -gate.by, f"{said}, {beside}"
