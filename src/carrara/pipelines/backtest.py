"""Backtests: a model trained anew at each of several past moments, and judged by what came next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.definitions import Definitions
from carrara.core.errors import TrainingError
from carrara.core.html import card, html_table
from carrara.core.progress import Progress
from carrara.evaluation.charts.forecasts import error_by_horizon, folds_over_time, metric_by_fold
from carrara.features.model_features import features_of_model
from carrara.metadata.run_metrics import LiveMetrics
from carrara.metadata.runs import run
from carrara.models.notebook import charts_drawn
from carrara.pipelines.backtest_folds import Fold, folds, require_backtest
from carrara.pipelines.run_log import logged
from carrara.pipelines.scores import stages_of
from carrara.pipelines.steps import TrainingWork
from carrara.pipelines.train import assembled
from carrara.storage.stores import Stores
from carrara.training.model import Model


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
    require_backtest(model)
    if against is not None and model.label.kind != "regression":
        raise TrainingError(f"a feature can stand for a number alone, and '{name}' learns a {model.label.kind} label")
    with run(stores.metadata, "backtest", name, asked) as run_id, logged(stores, run_id, progress):
        stages = stages_of(stores, model, service, model.scores)
        work = TrainingWork(stores, definitions, model, service, run_id, stages=stages)
        training_set = assembled(work, progress)
        found = []
        for number, fold in enumerate(folds(work, training_set, origins, every, progress, against), start=1):
            found.append(fold)
            _kept(stores, run_id, number, fold)
    return Backtest(name, run_id, tuple(found))


def _kept(stores: Stores, run_id: str, number: int, fold: Fold) -> None:
    live = LiveMetrics(stores.metadata, run_id)
    for name, value in fold.metrics.items():
        live.add(name, number, value.value)
    live.flush()
