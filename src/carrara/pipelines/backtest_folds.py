"""The folds of a backtest: a model trained at past moments on what was known then, each judged by what came next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from carrara.core.clock import duration
from carrara.core.columns import require_column
from carrara.core.errors import DataError, TrainingError
from carrara.core.progress import Progress, Step
from carrara.data.rows import StoredRows, split_table
from carrara.data.splits import RollingSplit, TimeSplit
from carrara.evaluation.metrics import Metric, MetricValue, measure, scaled_error
from carrara.features.training_set import TrainingSet
from carrara.pipelines.forecasts import Forecasts
from carrara.pipelines.out_of_fold import folds_until
from carrara.pipelines.scores import out_of_sample
from carrara.pipelines.steps import TrainingWork, on_engine
from carrara.training.fit import prepare
from carrara.training.labels import encoded, queries
from carrara.training.model import Model
from carrara.training.out_of_fold import scores_of_folds
from carrara.training.partitions import inner_features
from carrara.training.trainers.imported import Imported


@dataclass(frozen=True)
class Fold:
    """One moment: trained on what was known at `origin`, judged by the rows from there until `end`.

    `against` is what was measured of a feature that was taken for the forecast; empty where none was asked for;
    `forecasts`, of numbers, are drawn.
    """

    origin: datetime
    end: datetime
    train_rows: int
    test_rows: int
    metrics: Mapping[str, MetricValue]
    against: Mapping[str, MetricValue]
    forecasts: Forecasts | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "origin": self.origin.isoformat(),
            "end": self.end.isoformat(),
            "train_rows": self.train_rows,
            "test_rows": self.test_rows,
            "metrics": {name: value.as_dict() for name, value in self.metrics.items()},
            "against": {name: value.as_dict() for name, value in self.against.items()},
        }


def require_backtest(model: Model) -> None:
    """TrainingError where a model cannot be trained at past moments."""
    if isinstance(model.trainer, Imported):
        raise TrainingError(f"'{model.name}' was trained elsewhere: it has no backtest")
    if model.partition_by:
        raise TrainingError(f"'{model.name}' is partitioned: it has no backtest")
    if model.scores and not model.score_folds:
        raise TrainingError(
            f"'{model.name}' reads scores of versions, which know what came later: it has no backtest",
            hint="With score_folds=5 their models are fitted anew on what was known at each origin.",
        )


def folds(
    work: TrainingWork,
    training_set: TrainingSet,
    origins: int,
    every: str,
    progress: Progress,
    against: str | None = None,
) -> Iterator[Fold]:
    """Each fold as it comes, oldest first; DataError where the rows do not reach back so far."""
    for origin, end in _origins(work, training_set, origins, duration(every)):
        with progress.step(f"origin {origin:%Y-%m-%d %H:%M}") as step:
            yield _fold(work, training_set, origin, end, against, step)


def _origins(
    work: TrainingWork, training_set: TrainingSet, origins: int, every: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    times = work.stores.lake.scan(training_set.lake_table).select(
        pl.col(work.model.label.time).min().alias("oldest"), pl.col(work.model.label.time).max().alias("newest")
    )
    oldest, newest = times.collect().row(0)
    end = newest + timedelta(microseconds=1)
    if oldest > end - every * (origins + 1):
        raise DataError(
            f"the rows go back to {oldest:%Y-%m-%d %H:%M}, too late for {origins} origins and a validation part",
            hint="Ask for fewer --origins, or a shorter --every.",
        )
    for place in reversed(range(origins)):
        yield end - every * (place + 1), end - every * place


def _fold(
    work: TrainingWork, training_set: TrainingSet, origin: datetime, end: datetime, against: str | None, step: Step
) -> Fold:
    model, label = work.model, work.model.label
    split = _split_at(model, origin, end)
    table = work.stores.lake.scan(training_set.lake_table).filter(pl.col(label.time) < end)
    parts = split_table(table, split, time=label.time, known_at=label.known_at)
    stages = tuple(folds_until(work.stores, stage, model.score_folds, origin) for stage in work.stages)
    learned_from = out_of_sample(parts, model, stages, whole=("test",))
    prepared = prepare(model, inner_features(model, work.service.features), learned_from, step.advance, stages=stages)
    prepared = on_engine(work.stores, prepared)
    fitted = model.trainer.fit(prepared.train, prepared.validation, replace(prepared.task, advance=step.advance))
    classes = prepared.task.classes or fitted.classes
    truth = encoded(label, parts["test"], classes, f"the rows from {origin:%Y-%m-%d}")
    read = scores_of_folds(stages, parts["test"], label.time)
    scores = np.asarray(fitted.predict(prepared.inputs.matrix(parts["test"], scores=read)), np.float64)
    options: Any = {"threshold": model.threshold, "seed": model.seed}
    options["groups"] = queries(label, parts["test"], f"the rows from {origin:%Y-%m-%d}")
    wanted = [*model.measured]
    if against is not None:
        wanted.append(scaled_error(_naive_error(model, parts["train"], against)))
    found = measure(truth, scores, wanted, kind=label.kind, **options)
    compared = {} if against is None else _against(model, parts["test"], truth, against, wanted)
    named = next(iter(found))
    step.said = f"{named} {found[named].value:.4g} on {parts['test'].height:,} rows"
    if compared:
        step.said += f", {against} {compared[named].value:.4g}"
    forecasts = Forecasts.of(label, parts["test"], truth, scores) if label.kind == "regression" else None
    return Fold(origin, end, learned_from["train"].height, parts["test"].height, found, compared, forecasts)


def _split_at(model: Model, origin: datetime, end: datetime) -> TimeSplit:
    """What is known at `origin`; as far back, and without the spans, as the model's own split says."""
    validation, declared = origin - (end - origin), model.split
    window = declared.train if isinstance(declared, RollingSplit) else None
    begin = (validation - duration(window)).isoformat() if window is not None else getattr(declared, "train_from", None)
    excluded = getattr(declared, "exclude", ())
    return TimeSplit(validation.isoformat(), origin.isoformat(), begin, exclude=excluded)


def _naive_error(model: Model, rows: StoredRows, feature: str) -> float:
    """The mean absolute error of a feature that is taken for the forecast, on training rows that have one."""
    assert isinstance(model.label.column, str)
    require_column(rows.schema, feature, f"the training set of '{model.name}'")
    table = rows.select([feature, model.label.column])
    apart = (table[feature].cast(pl.Float64) - table[model.label.column].cast(pl.Float64)).abs()
    return float(np.nanmean(apart.fill_null(float("nan")).to_numpy())) if apart.count() else float("nan")


def _against(
    model: Model, rows: StoredRows, truth: Any, feature: str, wanted: Sequence[str | Metric]
) -> dict[str, MetricValue]:
    """A feature's own values as forecasts, where it has one."""
    require_column(rows.schema, feature, f"the training set of '{model.name}'")
    values = rows[feature].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    there = np.isfinite(values)
    if not there.any():
        raise DataError(f"'{feature}' is missing in every row that is to be forecast")
    return measure(truth[there], values[there], wanted, kind="regression", bootstrap=0)
