"""Multivariate drift: can a classifier tell a window's rows from the training rows?

What no single column shows (two features that used to move together and no longer do) is seen by products of pairs.
The classifier is a cross-fitted ridge on normal scores, their squares and products, so that it needs no framework.
Such two-sample tests: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.

Any day can be told from a year by its weather, though nothing has changed. So what counts is more than the usual: how
well stretches of the training rows, each as long as the window, are told from the rest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.data.rows import every_nth
from carrara.evaluation.metrics import METRICS

Floats = npt.NDArray[np.float64]

MOST_ROWS = 2_000
_MOST_PAIRED = 40
_MOST_CATEGORIES = 8
_LEAST_ROWS = 50
_STRETCHES = 8


@dataclass(frozen=True)
class DomainShift:
    """`auc` is 0.5 where the two cannot be told apart; below `by_chance` it may be chance (one in a thousand), and
    up to `usual` (None: not known) stretches of training rows are told from each other as well."""

    auc: float
    by_chance: float
    features: tuple[tuple[str, float], ...]
    rows: int
    usual: float | None = None

    @property
    def is_seen(self) -> bool:
        return self.auc > max(self.by_chance, self.usual or 0.0)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "is_seen": self.is_seen, "features": [list(pair) for pair in self.features]}


def domain_shift(
    training: pl.DataFrame, window: pl.DataFrame, features: Sequence[str], *, seed: int = 0
) -> DomainShift | None:
    """How well rows of a window are told from training rows; None for too few of either to know."""
    size = min(training.height, window.height, MOST_ROWS)
    if size < _LEAST_ROWS:
        return None
    random = np.random.default_rng(seed)
    parts = [frame[random.permutation(frame.height)[:size]] for frame in (training, window)]
    matrix, owners = _matrix(pl.concat([p.select(features) for p in parts], how="vertical_relaxed"), features)
    labels = np.repeat([0.0, 1.0], size)
    fold = random.permutation(2 * size) % 2
    scores, weights = np.empty(2 * size), np.zeros(matrix.shape[1])
    for held in (0, 1):
        coefficients = _ridge(matrix[fold != held], labels[fold != held])
        weights += np.abs(coefficients)
        scores[fold == held] = matrix[fold == held] @ coefficients
    aucs = [_auc(labels[fold == held], scores[fold == held]) for held in (0, 1)]
    told = dict.fromkeys(features, 0.0)
    for owner, weight in zip(owners, weights, strict=True):
        for name in owner:
            told[name] += float(weight) / len(owner)
    most = sorted(told.items(), key=lambda pair: -pair[1])[:5]
    by_chance = 0.5 + 3.1 * float(np.sqrt((2 * size + 1) / (12 * size * size)))
    return DomainShift(float(np.mean(aucs)), by_chance, tuple(most), size)


def usual_auc(rows: pl.LazyFrame, time: str, length: timedelta, features: Sequence[str]) -> float | None:
    """How well a stretch of training rows of so much `time` is told from the others: the most of eight, the last
    among them, which has only earlier rows beside it. None where training is not three times as long."""
    times = rows.select(time).collect().to_series()
    first, last = times.min(), times.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime) or last - first < 3 * length:
        return None
    step = (last - first - length) / (_STRETCHES - 1)
    drawn = every_nth(rows.select(time, *features), len(times) // (2 * MOST_ROWS))
    found = []
    for number in range(_STRETCHES):
        start = first + number * step
        inside = pl.col(time).is_between(start, start + length)
        count = int(times.is_between(start, start + length).sum())
        stretch = every_nth(rows.filter(inside).select(features), count // MOST_ROWS)
        found.append(domain_shift(drawn.filter(~inside), stretch, features))
    return max((one.auc for one in found if one is not None), default=None)


def _auc(labels: Floats, scores: Floats) -> float:
    low, high = float(scores.min()), float(scores.max())
    return METRICS["roc_auc"].function(labels, (scores - low) / ((high - low) or 1.0))


def _ridge(rows: Floats, labels: Floats) -> Floats:
    centred, mean = rows, labels.mean()
    strength = 1e-2 * len(rows)
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += strength
    return np.asarray(np.linalg.solve(gram, centred.T @ (labels - mean)))


def _matrix(frame: pl.DataFrame, features: Sequence[str]) -> tuple[Floats, list[tuple[str, ...]]]:
    """Standardised columns, and the features that each is made of."""
    columns: list[Floats] = []
    owners: list[tuple[str, ...]] = []
    for name in features:
        for values in _columns(frame[name]):
            spread = values.std()
            if spread > 0:
                columns.append((values - values.mean()) / spread)
                owners.append((name,))
    singles = len(columns)
    if singles <= _MOST_PAIRED:
        for one in range(singles):
            for other in range(one, singles):
                product = columns[one] * columns[other]
                if (spread := product.std()) > 1e-9:
                    columns.append((product - product.mean()) / spread)
                    owners.append(tuple(dict.fromkeys(owners[one] + owners[other])))
    if not columns:
        return np.zeros((frame.height, 1)), [(features[0],)]
    return np.column_stack(columns), owners


def _columns(values: pl.Series) -> list[Floats]:
    if values.dtype == pl.String:
        common = values.drop_nulls().value_counts(sort=True).head(_MOST_CATEGORIES)[values.name]
        return [(values == name).fill_null(False).cast(pl.Float64).to_numpy() for name in common]
    numbers = values.cast(pl.Float64).fill_nan(None)
    missing = numbers.is_null().cast(pl.Float64).to_numpy()
    ranks = (numbers.rank("average") - 0.5) / max(len(numbers) - numbers.null_count(), 1)
    return [_normal(ranks.fill_null(0.5).to_numpy()), missing]


def _normal(shares: Floats) -> Floats:
    """About the quantiles of a normal distribution (the logistic's, scaled)."""
    clipped = np.clip(shares, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)) / 1.702)
