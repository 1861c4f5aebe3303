"""Carrara: from raw tables to monitored predictions in one package.

Names are imported when they are first used, so that `import carrara` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from carrara.core.errors import CarraraError
    from carrara.data import Dataset, DuckDB, HashSplit, RollingSplit, Sql, StratifiedSplit, TimeSplit, dataset
    from carrara.evaluation import (
        at_least,
        at_most,
        better_than_baseline,
        cost,
        metric,
        no_slice_below,
        not_worse_than_champion,
    )
    from carrara.features import (
        AggregateView,
        Entity,
        Feature,
        FeatureService,
        FeatureView,
        Folder,
        Kafka,
        count,
        distinct,
        feature_view,
        first,
        last,
        maximum,
        mean,
        minimum,
        on_demand_view,
        rate,
        std,
        top_k,
        total,
    )
    from carrara.serving.client import Client
    from carrara.training import (
        Between,
        Bucketise,
        Clip,
        Cross,
        Fitted,
        Impute,
        Keras,
        Label,
        LightGBM,
        Linear,
        Log,
        Model,
        NGrams,
        OneHot,
        OneOf,
        Part,
        Retrain,
        Sklearn,
        Standardise,
        Task,
        Torch,
        Vocabulary,
        XGBoost,
        tf_dataset,
        torch_dataset,
        trainer,
    )
    from carrara.workspace import Workspace

_HOMES = {
    "carrara.core.errors": ("CarraraError",),
    "carrara.data": (
        "Dataset",
        "DuckDB",
        "HashSplit",
        "RollingSplit",
        "Sql",
        "StratifiedSplit",
        "TimeSplit",
        "dataset",
    ),
    "carrara.evaluation": (
        "at_least",
        "at_most",
        "better_than_baseline",
        "cost",
        "metric",
        "no_slice_below",
        "not_worse_than_champion",
    ),
    "carrara.features": (
        "AggregateView",
        "Entity",
        "Feature",
        "FeatureService",
        "FeatureView",
        "Folder",
        "Kafka",
        "count",
        "distinct",
        "feature_view",
        "first",
        "last",
        "maximum",
        "mean",
        "minimum",
        "on_demand_view",
        "rate",
        "std",
        "top_k",
        "total",
    ),
    "carrara.serving.client": ("Client",),
    "carrara.training": (
        "Between",
        "Bucketise",
        "Clip",
        "Cross",
        "Fitted",
        "Impute",
        "Keras",
        "Label",
        "LightGBM",
        "Linear",
        "Log",
        "Model",
        "NGrams",
        "OneHot",
        "OneOf",
        "Part",
        "Retrain",
        "Sklearn",
        "Standardise",
        "Task",
        "Torch",
        "Vocabulary",
        "XGBoost",
        "tf_dataset",
        "torch_dataset",
        "trainer",
    ),
    "carrara.workspace": ("Workspace",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AggregateView",
    "Between",
    "Bucketise",
    "CarraraError",
    "Client",
    "Clip",
    "Cross",
    "Dataset",
    "DuckDB",
    "Entity",
    "Feature",
    "FeatureService",
    "FeatureView",
    "Fitted",
    "Folder",
    "HashSplit",
    "Impute",
    "Kafka",
    "Keras",
    "Label",
    "LightGBM",
    "Linear",
    "Log",
    "Model",
    "NGrams",
    "OneHot",
    "OneOf",
    "Part",
    "Retrain",
    "RollingSplit",
    "Sklearn",
    "Sql",
    "Standardise",
    "StratifiedSplit",
    "Task",
    "TimeSplit",
    "Torch",
    "Vocabulary",
    "Workspace",
    "XGBoost",
    "at_least",
    "at_most",
    "better_than_baseline",
    "cost",
    "count",
    "dataset",
    "distinct",
    "feature_view",
    "first",
    "last",
    "maximum",
    "mean",
    "metric",
    "minimum",
    "no_slice_below",
    "not_worse_than_champion",
    "on_demand_view",
    "rate",
    "std",
    "top_k",
    "total",
    "tf_dataset",
    "torch_dataset",
    "trainer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'carrara' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
