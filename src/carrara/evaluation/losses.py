"""What each row's prediction has lost, by kind: by this, rows are weak or strong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.metrics import Kind
from carrara.evaluation.weighing import Floats

LOSS_OF: dict[Kind, str] = {
    "binary": "log loss",
    "multiclass": "log loss",
    "multilabel": "log loss",
    "regression": "absolute error",
}


def row_losses(labels: npt.ArrayLike, scores: npt.ArrayLike, kind: Kind = "binary") -> Floats:
    """The log loss of each row (of several labels their mean), or the absolute error of a number, of shape (rows,), in
    the order that was given.

    A log loss counts at most ln(1000): one certain mistake would else hide a thousand others.

    >>> row_losses([1, 0], [0.5, 0.5]).round(3).tolist()
    [0.693, 0.693]
    """
    truth: npt.NDArray[Any] = np.asarray(labels)
    values = np.asarray(scores, np.float64)
    if kind not in LOSS_OF:
        raise DataError(f"a row of kind '{kind}' has no loss of its own")
    if kind == "regression":
        return np.abs(values - truth.astype(np.float64))
    if kind == "multiclass":
        likelihood = values[np.arange(len(values)), truth.astype(np.int64)]
    else:
        likelihood = np.where(truth == 1, values, 1 - values)
    losses = np.asarray(-np.log(np.clip(likelihood, 0.001, 1.0)))
    return np.asarray(losses.mean(axis=1)) if kind == "multilabel" else losses
