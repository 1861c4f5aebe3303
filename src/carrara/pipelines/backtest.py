"""Backtests: a model trained anew at each of several past moments, and judged by what came next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from carrara.core.clock import duration
from carrara.core.columns import require_column
from carrara.core.definitions import Definitions
from carrara.core.errors import DataError, TrainingError
from carrara.core.html import card, html_table
from carrara.core.progress import Progress, Step
from carrara.data.rows import StoredRows, split_table
from carrara.data.splits import RollingSplit, TimeSplit
from carrara.evaluation.charts.forecasts import error_by_horizon, folds_over_time, metric_by_fold
from carrara.evaluation.metrics import Metric, MetricValue, measure, scaled_error
from carrara.features.model_features import features_of_model
from carrara.features.training_set import TrainingSet
from carrara.metadata.run_metrics import LiveMetrics
from carrara.metadata.runs import run
from carrara.models.notebook import charts_drawn
from carrara.pipelines.forecasts import Forecasts
from carrara.pipelines.out_of_fold import folds_until
from carrara.pipelines.run_log import logged
from carrara.pipelines.scores import out_of_sample, stages_of
from carrara.pipelines.steps import TrainingWork, on_engine
from carrara.pipelines.train import assembled
from carrara.storage.stores import Stores
from carrara.training.fit import prepare
from carrara.training.labels import encoded, queries
from carrara.training.model import Model
from carrara.training.out_of_fold import scores_of_folds
from carrara.training.partitions import inner_features


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


@dataclass(frozen=True)
class Backtest:
    """The folds, oldest first; nothing is registered."""

    model: str
    run_id: str
    folds: tuple[Fold, ...]

    @property
    def mean(self) -> dict[str, float]:
        """Each metric's mean over the folds."""
        return {
            name: float(np.mean([fold.metrics[name].value for fold in self.folds])) for name in self.folds[0].metrics
        }

    @property
    def charts(self) -> dict[str, Any]:
        """What was forecast from each origin and what came, by steps ahead too where it is a series; the first metric
        of each fold."""
        origins = [round(fold.origin.timestamp() * 1_000_000) for fold in self.folds]
        drawn = [fold.forecasts for fold in self.folds if fold.forecasts is not None]
        charts = {}
        if drawn:
            each = ((one.times, one.labels, one.scores) for one in drawn)
            charts["backtest"] = folds_over_time([(o, *rows) for o, rows in zip(origins, each, strict=True)])
        if steps := [one.steps for one in drawn if one.steps is not None]:
            labels, scores = (np.concatenate([getattr(one, name) for one in drawn]) for name in ("labels", "scores"))
            charts["error_by_horizon"] = error_by_horizon(labels, scores, np.concatenate(steps))
        first = next(iter(self.folds[0].metrics))
        values = [fold.metrics[first] for fold in self.folds]
        held = [fold.against[first].value for fold in self.folds if fold.against]
        charts["metric_by_fold"] = metric_by_fold(origins, first, [(v.value, v.low, v.high) for v in values], held)
        return charts

    def as_dict(self) -> dict[str, Any]:
        folds = [fold.as_dict() for fold in self.folds]
        told = {"model": self.model, "run": self.run_id, "mean": self.mean, "folds": folds}
        return {**told, "charts": self.charts}

    def _repr_html_(self) -> str:
        rows = [
            (f"{f.origin:%Y-%m-%d %H:%M}", f.train_rows, f.test_rows, *(v.value for v in f.metrics.values()))
            for f in self.folds
        ]
        told = html_table(f"{self.model}, backtest", ["origin", "train", "test", *self.mean], rows)
        return told + card("", charts_drawn(self.charts))


def backtest(
    stores: Stores,
    definitions: Definitions,
    name: str,
    progress: Progress,
    *,
    origins: int = 5,
    every: str = "7d",
    against: str | None = None,
) -> Backtest:
    """Train a model at `origins` moments, `every` so long, up to the newest rows; each time on what was known then,
    with the stretch before the origin as the validation part, and judge it by the rows until the next moment.

    `against` names a feature that is taken for the forecast as it is, such as the last value: what has to be beaten.
    With it there is `mase` beside the model's metrics: the error over that of this forecast on the training rows.
    Raises DataError where the rows do not reach back so far.
    """
    model = definitions.get("model", name, Model)
    service = features_of_model(definitions, model, where=f"model '{name}'")
    asked = {"definition": model.spec(), "origins": origins, "every": every, "against": against}
    if model.partition_by:
        raise TrainingError(f"'{name}' is partitioned: it has no backtest")
    if model.scores and not model.score_folds:
        raise TrainingError(
            f"'{name}' reads scores of versions, which know what came later: it has no backtest",
            hint="With score_folds=5 their models are fitted anew on what was known at each origin.",
        )
    if against is not None and model.label.kind != "regression":
        raise TrainingError(f"a feature can stand for a number alone, and '{name}' learns a {model.label.kind} label")
    with run(stores.metadata, "backtest", name, asked) as run_id, logged(stores, run_id, progress):
        stages = stages_of(stores, model, service, model.scores)
        work = TrainingWork(stores, definitions, model, service, run_id, stages=stages)
        training_set = assembled(work, progress)
        folds = []
        for number, (origin, end) in enumerate(_origins(work, training_set, origins, duration(every)), start=1):
            with progress.step(f"origin {origin:%Y-%m-%d %H:%M}") as step:
                folds.append(_fold(work, training_set, origin, end, against, step))
                _kept(stores, run_id, number, folds[-1])
    return Backtest(name, run_id, tuple(folds))


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


def _kept(stores: Stores, run_id: str, number: int, fold: Fold) -> None:
    live = LiveMetrics(stores.metadata, run_id)
    for name, value in fold.metrics.items():
        live.add(name, number, value.value)
    live.flush()
