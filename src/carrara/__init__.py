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
    from carrara.training.trainers.spark_linear import SparkLinear
    from carrara.training.trainers.spark_trees import SparkBoosted, SparkForest
    from carrara.training.trainers.torch import Torch
    from carrara.training.trainers.xgboost import XGBoost
    from carrara.training.transforms.hashes import Hash
    from carrara.training.transforms.numbers import Bucketise, Clip, Impute, Log, Standardise
    from carrara.training.transforms.texts import Cross, NGrams, OneHot, Vocabulary
    from carrara.training.transforms.tokens import Tokens
    from carrara.workspace.workspace import Workspace

_HOMES = {
    "carrara.core.errors": ("CarraraError",),
    "carrara.data.ahead": ("Ahead",),
    "carrara.data.dataset": (
        "Dataset",
        "dataset",
    ),
    "carrara.data.sources.duckdb": ("DuckDB",),
    "carrara.data.sources.sql": ("Sql",),
    "carrara.data.splits": (
        "HashSplit",
        "NoSplit",
        "RollingSplit",
        "StratifiedSplit",
        "TimeSplit",
    ),
    "carrara.evaluation.gates": (
        "at_least",
        "at_most",
        "better_than_baseline",
        "no_slice_above",
        "no_slice_below",
        "not_worse_than_champion",
    ),
    "carrara.evaluation.own": (
        "cost",
        "metric",
    ),
    "carrara.evaluation.paired_slices": ("no_slice_worse_than_champion",),
    "carrara.evaluation.serving_gates": (
        "data_validated",
        "latency_at_most",
        "safe_to_serve",
        "size_at_most",
    ),
    "carrara.features.aggregates": (
        "AggregateView",
        "count",
        "distinct",
        "first",
        "lags",
        "last",
        "maximum",
        "mean",
        "minimum",
        "rate",
        "std",
        "top_k",
        "total",
    ),
    "carrara.features.entities": ("Entity",),
    "carrara.features.feature": ("Feature",),
    "carrara.features.on_demand": ("on_demand_view",),
    "carrara.features.service": ("FeatureService",),
    "carrara.features.streams.folder": ("Folder",),
    "carrara.features.streams.kafka": ("Kafka",),
    "carrara.features.views": (
        "FeatureView",
        "feature_view",
    ),
    "carrara.monitoring.agreement": ("Agreement",),
    "carrara.monitoring.alert": ("alert",),
    "carrara.monitoring.monitor": ("Monitor",),
    "carrara.monitoring.notify.alertmanager": ("Alertmanager",),
    "carrara.monitoring.notify.email": ("Email",),
    "carrara.monitoring.notify.file": ("ToFile",),
    "carrara.monitoring.notify.log": ("ToLog",),
    "carrara.monitoring.notify.webhook": ("Webhook",),
    "carrara.monitoring.sampling": ("Sampling",),
    "carrara.serving.client": ("Client",),
    "carrara.training.feeds": (
        "tf_dataset",
        "torch_dataset",
    ),
    "carrara.training.model": (
        "Label",
        "Model",
        "Unlabelled",
    ),
    "carrara.training.retrain": ("Retrain",),
    "carrara.training.search": (
        "Between",
        "OneOf",
    ),
    "carrara.training.trainers.base": (
        "Fitted",
        "Part",
        "Task",
    ),
    "carrara.training.trainers.function": ("trainer",),
    "carrara.training.trainers.imported": ("Imported",),
    "carrara.training.trainers.keras": ("Keras",),
    "carrara.training.trainers.kmeans": ("KMeans",),
    "carrara.training.trainers.lightgbm": ("LightGBM",),
    "carrara.training.trainers.linear": ("Linear",),
    "carrara.training.trainers.sklearn": ("Sklearn",),
    "carrara.training.trainers.spark_linear": ("SparkLinear",),
    "carrara.training.trainers.spark_trees": (
        "SparkBoosted",
        "SparkForest",
    ),
    "carrara.training.trainers.torch": ("Torch",),
    "carrara.training.trainers.xgboost": ("XGBoost",),
    "carrara.training.transforms.hashes": ("Hash",),
    "carrara.training.transforms.numbers": (
        "Bucketise",
        "Clip",
        "Impute",
        "Log",
        "Standardise",
    ),
    "carrara.training.transforms.texts": (
        "Cross",
        "NGrams",
        "OneHot",
        "Vocabulary",
    ),
    "carrara.training.transforms.tokens": ("Tokens",),
    "carrara.workspace.workspace": ("Workspace",),
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
    "SparkBoosted",
    "SparkForest",
    "SparkLinear",
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
