"""The feature store: one definition of a feature, the same value in a training set and at a prediction.

In: datasets and a user's definitions. Out: prepared feature tables in the lake, exact point-in-time training
sets, rows in the online store, and features by entity key.
"""

from carrara.features.aggregates import (
    AggregateView,
    Aggregation,
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
from carrara.features.materialise import Materialised, materialise
from carrara.features.offline import FeatureTable, compute_feature_table, list_feature_tables
from carrara.features.on_demand import OnDemandView, on_demand_view
from carrara.features.retrieval import FeatureValues, Retriever
from carrara.features.service import FeatureService, ResolvedFeatures, resolve_features
from carrara.features.streams.folder import Folder
from carrara.features.streams.kafka import Kafka
from carrara.features.training_set import TrainingSet, build_training_set, join_features, read_training_set
from carrara.features.views import FeatureView, feature_view

__all__ = [
    "AggregateView",
    "Aggregation",
    "Entity",
    "Feature",
    "FeatureService",
    "ResolvedFeatures",
    "FeatureTable",
    "FeatureValues",
    "FeatureView",
    "Folder",
    "Kafka",
    "Materialised",
    "OnDemandView",
    "Retriever",
    "TrainingSet",
    "build_training_set",
    "compute_feature_table",
    "count",
    "distinct",
    "feature_view",
    "first",
    "join_features",
    "lags",
    "last",
    "list_feature_tables",
    "materialise",
    "maximum",
    "mean",
    "minimum",
    "on_demand_view",
    "rate",
    "read_training_set",
    "resolve_features",
    "std",
    "top_k",
    "total",
]
