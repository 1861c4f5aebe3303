"""What `import carrara` gives and from which file: for type checkers, and for `__init__.py` to import at first use."""

from .core.errors import CarraraError as CarraraError
from .data.ahead import Ahead as Ahead
from .data.dataset import (
    Dataset as Dataset,
    dataset as dataset,
)
from .data.sources.duckdb import DuckDB as DuckDB
from .data.sources.sql import Sql as Sql
from .data.splits import (
    HashSplit as HashSplit,
    NoSplit as NoSplit,
    RollingSplit as RollingSplit,
    StratifiedSplit as StratifiedSplit,
    TimeSplit as TimeSplit,
)
from .evaluation.flip_gates import (
    flips_at_most as flips_at_most,
    flips_from_champion_at_most as flips_from_champion_at_most,
)
from .evaluation.gap_gates import (
    gap_at_most as gap_at_most,
    gap_not_wider_than_champion as gap_not_wider_than_champion,
)
from .evaluation.gates import (
    at_least as at_least,
    at_most as at_most,
    better_than_baseline as better_than_baseline,
    no_slice_above as no_slice_above,
    no_slice_below as no_slice_below,
    not_worse_than_champion as not_worse_than_champion,
)
from .evaluation.own import (
    cost as cost,
    metric as metric,
)
from .evaluation.paired_slices import no_slice_worse_than_champion as no_slice_worse_than_champion
from .evaluation.readiness_gates import (
    backtested as backtested,
    features_validated as features_validated,
    fully_reported as fully_reported,
    nulls_handled as nulls_handled,
)
from .evaluation.serving_gates import (
    data_validated as data_validated,
    latency_at_most as latency_at_most,
    safe_to_serve as safe_to_serve,
    size_at_most as size_at_most,
)
from .features.aggregates import (
    AggregateView as AggregateView,
    count as count,
    distinct as distinct,
    first as first,
    lags as lags,
    last as last,
    maximum as maximum,
    mean as mean,
    minimum as minimum,
    rate as rate,
    std as std,
    top_k as top_k,
    total as total,
)
from .features.entities import Entity as Entity
from .features.feature import Feature as Feature
from .features.on_demand import on_demand_view as on_demand_view
from .features.service import FeatureService as FeatureService
from .features.streams.folder import Folder as Folder
from .features.streams.kafka import Kafka as Kafka
from .features.views import (
    FeatureView as FeatureView,
    feature_view as feature_view,
)
from .monitoring.agreement import Agreement as Agreement
from .monitoring.alert import alert as alert
from .monitoring.monitor import Monitor as Monitor
from .monitoring.notify.alertmanager import Alertmanager as Alertmanager
from .monitoring.notify.email import Email as Email
from .monitoring.notify.file import ToFile as ToFile
from .monitoring.notify.log import ToLog as ToLog
from .monitoring.notify.webhook import Webhook as Webhook
from .monitoring.sampling import Sampling as Sampling
from .serving.batch_prediction import BatchPrediction as BatchPrediction
from .serving.client import Client as Client
from .serving.embedded import load_model as load_model
from .training.compute import Compute as Compute
from .training.feeds import (
    tf_dataset as tf_dataset,
    torch_dataset as torch_dataset,
)
from .training.model import (
    Label as Label,
    Model as Model,
    Unlabelled as Unlabelled,
)
from .training.retrain import Retrain as Retrain
from .training.search import (
    Between as Between,
    OneOf as OneOf,
)
from .training.trainers.base import (
    Fitted as Fitted,
    Part as Part,
    Task as Task,
)
from .training.trainers.function import trainer as trainer
from .training.trainers.imported import Imported as Imported
from .training.trainers.keras import Keras as Keras
from .training.trainers.kmeans import KMeans as KMeans
from .training.trainers.lightgbm import LightGBM as LightGBM
from .training.trainers.linear import Linear as Linear
from .training.trainers.sklearn import Sklearn as Sklearn
from .training.trainers.spark_linear import SparkLinear as SparkLinear
from .training.trainers.spark_trees import (
    SparkBoosted as SparkBoosted,
    SparkForest as SparkForest,
)
from .training.trainers.torch import Torch as Torch
from .training.trainers.xgboost import XGBoost as XGBoost
from .training.transforms.hashes import Hash as Hash
from .training.transforms.numbers import (
    Bucketise as Bucketise,
    Clip as Clip,
    Impute as Impute,
    Log as Log,
    Standardise as Standardise,
)
from .training.transforms.texts import (
    Cross as Cross,
    NGrams as NGrams,
    OneHot as OneHot,
    Vocabulary as Vocabulary,
)
from .training.transforms.tokens import Tokens as Tokens
from .workspace.workspace import Workspace as Workspace

__version__: str
