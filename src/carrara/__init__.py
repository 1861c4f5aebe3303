"""Carrara: from raw tables to monitored predictions in one package.

Names are imported when they are first used, so that `import carrara` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from carrara.core.errors import CarraraError
    from carrara.data.ahead import Ahead
    from carrara.data.dataset import Dataset, dataset
    from carrara.data.sources.duckdb import DuckDB
    from carrara.data.sources.sql import Sql
    from carrara.data.splits import HashSplit, NoSplit, RollingSplit, StratifiedSplit, TimeSplit
    from carrara.evaluation.gates import (
        at_least,
        at_most,
        better_than_baseline,
        no_slice_above,
        no_slice_below,
        not_worse_than_champion,
    )
    from carrara.evaluation.own import cost, metric
    from carrara.evaluation.paired_slices import no_slice_worse_than_champion
    from carrara.evaluation.serving_gates import data_validated, latency_at_most, safe_to_serve, size_at_most
    from carrara.features.aggregates import (
        AggregateView,
        count,
        distinct,
        first,
        lags,
        last,
        maximum,
        mean,
        minimum,
        rate,
        std,
        top_k,
        total,
    )
    from carrara.features.entities import Entity
    from carrara.features.feature import Feature
    from carrara.features.on_demand import on_demand_view
    from carrara.features.service import FeatureService
    from carrara.features.streams.folder import Folder
    from carrara.features.streams.kafka import Kafka
    from carrara.features.views import FeatureView, feature_view
    from carrara.monitoring.agreement import Agreement
    from carrara.monitoring.alert import alert
    from carrara.monitoring.monitor import Monitor
    from carrara.monitoring.notify.alertmanager import Alertmanager
    from carrara.monitoring.notify.email import Email
    from carrara.monitoring.notify.file import ToFile
    from carrara.monitoring.notify.log import ToLog
    from carrara.monitoring.notify.webhook import Webhook
    from carrara.monitoring.sampling import Sampling
    from carrara.serving.client import Client
    from carrara.training.feeds import tf_dataset, torch_dataset
    from carrara.training.model import Label, Model, Unlabelled
    from carrara.training.retrain import Retrain
    from carrara.training.search import Between, OneOf
    from carrara.training.trainers.base import Fitted, Part, Task
    from carrara.training.trainers.function import trainer
    from carrara.training.trainers.imported import Imported
    from carrara.training.trainers.keras import Keras
    from carrara.training.trainers.kmeans import KMeans
    from carrara.training.trainers.lightgbm import LightGBM
    from carrara.training.trainers.linear import Linear
    from carrara.training.trainers.sklearn import Sklearn
    from carrara.training.trainers.torch import Torch
    from carrara.training.trainers.xgboost import XGBoost
    from carrara.training.transforms.hashes import Hash
    from carrara.training.transforms.numbers import Bucketise, Clip, Impute, Log, Standardise
    from carrara.training.transforms.texts import Cross, NGrams, OneHot, Vocabulary
    from carrara.training.transforms.tokens import Tokens
    from carrara.workspace.workspace import Workspace

_HOMES = {
    "carrara.core.errors": ("CarraraError",),
    "carrara.data": (
        "Ahead",
        "Dataset",
        "DuckDB",
        "HashSplit",
        "NoSplit",
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
        "data_validated",
        "latency_at_most",
        "metric",
        "no_slice_above",
        "no_slice_below",
        "no_slice_worse_than_champion",
        "not_worse_than_champion",
        "safe_to_serve",
        "size_at_most",
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
        "lags",
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
    "carrara.monitoring": (
        "Agreement",
        "Alertmanager",
        "Email",
        "Monitor",
        "Sampling",
        "ToFile",
        "ToLog",
        "Webhook",
        "alert",
    ),
    "carrara.training": (
        "Between",
        "Bucketise",
        "Clip",
        "Cross",
        "Fitted",
        "Imported",
        "Hash",
        "Impute",
        "KMeans",
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
        "Tokens",
        "Torch",
        "Unlabelled",
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
    "Agreement",
    "Ahead",
    "Alertmanager",
    "Between",
    "Bucketise",
    "CarraraError",
    "Client",
    "Clip",
    "Cross",
    "Dataset",
    "DuckDB",
    "Email",
    "Entity",
    "Feature",
    "FeatureService",
    "FeatureView",
    "Fitted",
    "Folder",
    "HashSplit",
    "Imported",
    "Hash",
    "Impute",
    "Kafka",
    "KMeans",
    "Keras",
    "Label",
    "LightGBM",
    "Linear",
    "Log",
    "Model",
    "Monitor",
    "NGrams",
    "NoSplit",
    "OneHot",
    "OneOf",
    "Part",
    "Retrain",
    "RollingSplit",
    "Sampling",
    "Sklearn",
    "Sql",
    "Standardise",
    "StratifiedSplit",
    "Task",
    "TimeSplit",
    "ToFile",
    "ToLog",
    "Tokens",
    "Torch",
    "Unlabelled",
    "Vocabulary",
    "Webhook",
    "Workspace",
    "XGBoost",
    "alert",
    "at_least",
    "at_most",
    "better_than_baseline",
    "cost",
    "count",
    "data_validated",
    "dataset",
    "distinct",
    "feature_view",
    "first",
    "lags",
    "last",
    "latency_at_most",
    "maximum",
    "mean",
    "metric",
    "minimum",
    "no_slice_above",
    "no_slice_below",
    "no_slice_worse_than_champion",
    "not_worse_than_champion",
    "on_demand_view",
    "rate",
    "safe_to_serve",
    "size_at_most",
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
