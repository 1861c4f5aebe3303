"""Steps: work that is done once for the same inputs, code and parameters, and then remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from carrara.core.clock import now
from carrara.core.definitions import Definitions
from carrara.core.progress import Step
from carrara.features.service import ResolvedFeatures
from carrara.metadata.runs import record_step, recorded_step
from carrara.models.registry import ModelVersion
from carrara.storage.stores import Stores
from carrara.training.cluster.team import ALONE, Team
from carrara.training.fit import Prepared
from carrara.training.model import Model
from carrara.training.stages import Stage


@dataclass(frozen=True)
class TrainingWork:
    """What every step of one training run needs; `start` has learned the rows that became known until `seen`. With
    `nodes` these alone of a partitioned model are trained, and the others are those of `start`."""

    stores: Stores
    definitions: Definitions
    model: Model
    service: ResolvedFeatures
    run_id: str
    tuned: Mapping[str, Any] | None = None
    start: ModelVersion | None = None
    team: Team = ALONE
    seen: str | None = None
    why: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    nodes: tuple[str, ...] = ()


def remembered(stores: Stores, run_id: str, step: Step, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The outputs of `work`: those recorded under `key`, or those of doing it now."""
    known = recorded_step(stores.metadata, key)
    if known is not None:
        step.reused = True
        return known.outputs
    started = now()
    outputs = work()
    record_step(stores.metadata, key, step.name, run_id, started, outputs)
    return outputs


def on_engine(stores: Stores, prepared: Prepared) -> Prepared:
    """What a trainer is given, with the Spark that the workspace names."""
    return replace(prepared, task=replace(prepared.task, spark=stores.engines.spark))
