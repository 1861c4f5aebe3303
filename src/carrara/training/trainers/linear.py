"""Linear and logistic regression, by scikit-learn, with a graph and parameters of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from carrara.core.errors import TrainingError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.training.search import Between, Space
from carrara.training.trainers.base import Array, Fitted, Part, Task, refuse_missing
from carrara.training.trainers.linear_fitted import fitted_linear


@dataclass(frozen=True)
class Linear:
    """Logistic regression of a class, or of each of several labels, ridge regression of a number; `l2` is the weight of
    the penalty.

    It takes no missing numbers, and learns best from standardised ones: `transforms=(carrara.Impute(),
    carrara.Standardise())`.
    """

    l2: float = 1.0
    iterations: int = 1_000

    name = "linear"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression", "multilabel")
    space: ClassVar[Mapping[str, Space]] = {"l2": Between(0.0001, 1000.0, log=True)}

    def spec(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        require("sklearn", extra="sklearn", purpose="the trainer 'linear'")
        if task.start:
            raise TrainingError(f"the trainer '{self.name}' cannot go on from another version")
        refuse_missing(train, task, "a linear model")
        features = train.features.astype(np.float64)
        labels = train.labels.T if task.kind == "multilabel" else [train.labels]
        models = [self._model(task).fit(features, one, sample_weight=train.weights) for one in labels]
        weights = np.concatenate([np.atleast_2d(model.coef_) for model in models])
        intercepts = np.concatenate([np.atleast_1d(model.intercept_) for model in models])
        return fitted_linear(
            lambda rows: _predict(models, rows, task),
            weights,
            intercepts,
            train.features.std(axis=0),
            task,
            iterations=max(_iterations(model) for model in models),
            libraries=("scikit-learn", "onnx"),
        )

    def _model(self, task: Task) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        if task.kind == "regression":
            return Ridge(alpha=self.l2)
        return LogisticRegression(C=1 / self.l2, max_iter=self.iterations)


def _iterations(model: Any) -> int:
    return 1 if model.n_iter_ is None else int(np.max(model.n_iter_))


def _predict(models: Sequence[Any], rows: Array, task: Task) -> Array:
    features = rows.astype(np.float64)
    if task.kind == "regression":
        return np.asarray(models[0].predict(features))
    if task.kind == "multiclass":
        return np.asarray(models[0].predict_proba(features))
    scores = np.column_stack([model.predict_proba(features)[:, 1] for model in models])
    return scores if task.kind == "multilabel" else scores[:, 0]
