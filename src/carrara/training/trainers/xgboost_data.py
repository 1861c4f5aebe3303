"""Parts as XGBoost takes them: quantised in memory, or, where they are larger than that, in files of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from carrara.training.trainers.base import MOST_IN_MEMORY, Array, Part
from carrara.training.trainers.ranking import by_query

_BATCH_ROWS = 1_048_576


def quantised(xgboost: Any, train: Part, validation: Part, folder: Path) -> tuple[Any, Any]:
    """Both parts, the second by the quantiles of the first; files of large ones are in `folder`, and those of a ranking
    in memory, by query."""
    if train.groups is not None:
        first, second = by_query(train), by_query(validation)
        data = xgboost.QuantileDMatrix(
            first.part.features, first.part.labels, qid=first.part.groups, weight=first.weights
        )
        return data, xgboost.QuantileDMatrix(
            second.part.features, second.part.labels, qid=second.part.groups, weight=second.weights, ref=data
        )
    if train.features.size <= MOST_IN_MEMORY:
        data = xgboost.QuantileDMatrix(*_whole(train), weight=train.weights)
        return data, xgboost.QuantileDMatrix(*_whole(validation), weight=validation.weights, ref=data)
    data = xgboost.ExtMemQuantileDMatrix(_batches(xgboost, train, folder / "train"))
    return data, xgboost.ExtMemQuantileDMatrix(_batches(xgboost, validation, folder / "validation"), ref=data)


def _whole(part: Part) -> tuple[Array, Array]:
    return np.ascontiguousarray(part.features), np.ascontiguousarray(part.labels)


def _batches(xgboost: Any, part: Part, cache: Path) -> Any:
    class Batches(xgboost.DataIter):  # type: ignore[misc]
        def __init__(self) -> None:
            self._done = 0
            super().__init__(cache_prefix=str(cache))

        def reset(self) -> None:
            self._done = 0

        def next(self, give: Callable[..., None]) -> bool:
            rows = slice(self._done, self._done + _BATCH_ROWS)
            if self._done >= len(part.labels):
                return False
            weight = None if part.weights is None else part.weights[rows]
            give(data=np.ascontiguousarray(part.features[rows]), label=part.labels[rows], weight=weight)
            self._done += _BATCH_ROWS
            return True

    return Batches()
