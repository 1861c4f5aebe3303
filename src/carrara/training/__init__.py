"""Training: what a model is declared to be, and the trainers that fit and export it.

In: a training set. Out: a servable artifact and what was learned.
"""

from carrara.training.feeds import tf_dataset, torch_dataset
from carrara.training.fit import FittedModel, fit_model
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

__all__ = [
    "Between",
    "Bucketise",
    "Clip",
    "Cross",
    "Fitted",
    "FittedModel",
    "Hash",
    "Imported",
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
    "fit_model",
    "tf_dataset",
    "torch_dataset",
    "trainer",
]
