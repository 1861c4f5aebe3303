"""What gates of readiness look at: a model at past moments, and its features as the training set has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from carrara.core.arrays import is_array
from carrara.core.errors import CarraraError
from carrara.core.progress import Progress
from carrara.data.rows import Rows
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence, FeatureSeen, Folds
from carrara.evaluation.readiness_gates import Backtested, FeaturesValidated
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import TrainingSet
from carrara.pipelines.backtest_folds import folds, require_backtest
from carrara.pipelines.scores import stages_of
from carrara.pipelines.steps import TrainingWork


def readiness(
    work: TrainingWork, training_set: TrainingSet, parts: Mapping[str, Rows], evaluation: Evaluation
) -> Evidence:
    """The evidence that gates of readiness ask for, as far as one does, beside the evaluation."""
    looked = any(isinstance(gate, FeaturesValidated) for gate in work.model.gates)
    seen = features_seen(work.service, parts) if looked else None
    return Evidence(evaluation, features=seen, backtests=backtests(work, training_set))


def backtests(work: TrainingWork, training_set: TrainingSet) -> dict[tuple[int, str], Folds | str]:
    """The model at past moments, as often as a gate asks for it; why it could not be trained there, if it could not."""
    found: dict[tuple[int, str], Folds | str] = {}
    for gate in work.model.gates:
        if not isinstance(gate, Backtested) or (gate.origins, gate.every) in found:
            continue
        try:
            require_backtest(work.model)
            then = replace(work, stages=stages_of(work.stores, work.model, work.service, work.model.scores))
            made = [fold.metrics for fold in folds(then, training_set, gate.origins, gate.every, Progress())]
            found[gate.origins, gate.every] = made
        except CarraraError as error:
            found[gate.origins, gate.every] = error.message
    return found


def features_seen(service: ResolvedFeatures, parts: Mapping[str, Rows]) -> list[FeatureSeen]:
    """How much of each feature is missing in every part that has rows, and whether the rest is one value alone."""
    found = []
    for name in service.features:
        missing, values = {}, pl.Series(dtype=pl.String)
        for part in (one for one in parts if parts[one].height):
            column = parts[part][name]
            lacking = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
            missing[part] = int(lacking.sum()) / len(column)
            if not is_array(column.dtype):
                values = pl.concat([values, column.filter(~lacking).unique().head(2).cast(pl.String)])
        found.append(FeatureSeen(name, missing, values.n_unique() == 1))
    return found
