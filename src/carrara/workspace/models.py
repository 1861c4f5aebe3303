"""`ws.models`: versions, records, reports, aliases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from carrara.metadata.deployments import current_aliases, move_alias
from carrara.metadata.trials import RecordedTrial, list_trials
from carrara.models.registry import ModelVersion, list_models, read_record, resolve
from carrara.pipelines.reproduce import Reproduction, reproduce
from carrara.pipelines.reproduce import diff_versions as diff_models
from carrara.pipelines.trees import Trees, largest_trees, read_trees
from carrara.serving.predictor import retriever_of

if TYPE_CHECKING:
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class Models:
    """The model versions of a workspace."""

    workspace: Workspace

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """Every version of every model, or of one, oldest first."""
        if model is not None:
            resolve(self.workspace.stores, model)
        return list_models(self.workspace.stores, model)

    def reproduce(self, address: str) -> Reproduction:
        """Build a version again by its record, and compare digests; nothing is registered."""
        return reproduce(self.workspace.stores, self.get(address))

    def diff(self, one: str, other: str) -> list[tuple[str, Any, Any]]:
        """What differs between two versions in configuration, data, code, environment and metrics, field by field."""
        return diff_models(self.workspace.stores, self.get(one), self.get(other))

    def trees(self, address: str, *, node: str | None = None, seen: bool = True) -> Trees:
        """The trees of a version of XGBoost or LightGBM, with its training rows at their nodes; of a partitioned model
        those of a `node`."""
        return read_trees(self.workspace.stores, self.get(address), node=node, seen=seen)

    def trials(self, model: str) -> list[RecordedTrial]:
        """Every trial of a model's hyper-parameters, in the order in which they ended."""
        return list_trials(self.workspace.stores.metadata, model=model)

    def table(self) -> pl.DataFrame:
        """The versions with their metrics, one a row."""
        return pl.DataFrame([{"model": str(v), "gates_passed": v.gates_passed, **v.metrics} for v in self.versions()])

    def get(self, address: str) -> ModelVersion:
        """The version that an address stands for: NAME, NAME@3, NAME@ALIAS."""
        return resolve(self.workspace.stores, address)

    def record(self, address: str) -> dict[str, Any]:
        """The whole model record."""
        return read_record(self.workspace.stores, self.get(address))

    def report(self, address: str, path: Path | None = None) -> Path:
        """Write the record as one self-contained HTML page, by default into `reports/`, and return its path."""
        from carrara.models.report import render_report

        version = self.get(address)
        target = path or self.workspace.root / "reports" / f"{version.model}-{version.version}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        trees = largest_trees(self.workspace.stores, version)
        target.write_text(render_report(self.record(address), trees), encoding="utf-8")
        return target

    def features_absent_online(self, address: str) -> list[str]:
        """The feature views that the version reads and that were never materialised as it reads them."""
        return retriever_of(self.workspace.stores, self.get(address)).absent()

    def aliases(self, model: str) -> dict[str, int]:
        return current_aliases(self.workspace.stores.metadata, model)

    def move_alias(self, address: str, alias: str) -> None:
        """Point an alias of the model at this version; the history of where it pointed is kept."""
        version = self.get(address)
        move_alias(self.workspace.stores.metadata, version.model, alias, version.version)
