"""The model record: everything that is known of a model version, complete and by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelRecord:
    """What is written once, when a version is registered; plain data all the way down.

    Deployments come later and are read from the metadata store when the record is shown.
    """

    model: str
    trained_by: str
    started_at: str
    ended_at: str
    configuration: dict[str, Any]
    datasets: dict[str, Any]
    features: list[dict[str, Any]]
    metrics: dict[str, Any]
    charts: dict[str, Any]
    parameters: dict[str, Any]
    summary: dict[str, Any]
    signature: dict[str, Any]
    gates: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))
