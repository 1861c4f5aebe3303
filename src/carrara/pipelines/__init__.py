"""Pipelines: the order of the work, with each step done once and kept, whatever happens in between.

In: definitions and stores. Out: registered model versions, deployments, applied definitions, and their lineage.
"""

from carrara.pipelines.deploy import deploy
from carrara.pipelines.plan import Change, Plan, apply, plan
from carrara.pipelines.prepare import compute_features, ingest_for, materialise_views
from carrara.pipelines.train import Trained, train

__all__ = [
    "Change",
    "Plan",
    "Trained",
    "apply",
    "compute_features",
    "deploy",
    "ingest_for",
    "materialise_views",
    "plan",
    "train",
]
