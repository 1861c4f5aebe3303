"""Training: what a model is declared to be, and the trainers that fit and export it.

In: a training set. Out: a servable artifact and what was learned.
"""

from carrara.training.fit import FittedModel, fit_model, matrix
from carrara.training.model import Label, Model
from carrara.training.trainers.xgboost import XGBoost

__all__ = ["FittedModel", "Label", "Model", "XGBoost", "fit_model", "matrix"]
