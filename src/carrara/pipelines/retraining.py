"""Retraining: whether a model should be trained again, and why, by its `Retrain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from carrara.core.clock import duration, parse_time
from carrara.data import read_dataset
from carrara.features.training_set import as_numpy
from carrara.models.registry import ModelVersion, read_record
from carrara.monitoring.drift import ReferenceDistribution, feature_drift
from carrara.monitoring.prediction_log import log_table, read_log
from carrara.pipelines.continued import newest_version
from carrara.storage import Stores
from carrara.training import Model
from carrara.training.retrain import Retrain


@dataclass(frozen=True)
class Retraining:
    """A model whose `Retrain` a scheduler looks after, at moments of its own."""

    model: Model
    retrain: Retrain

    kind = "retraining"

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def schedule(self) -> str:
        return self.retrain.check


@dataclass(frozen=True)
class Found:
    """What was looked at, each in words; the reasons are those of it that ask for a training."""

    reasons: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        return "; ".join(self.reasons or self.others)


def reasons_to_retrain(stores: Stores, model: Model, retrain: Retrain) -> Found:
    """Why a model should be trained again, over the datasets and the predictions as they are now."""
    newest = newest_version(stores, model.name)
    if newest is None:
        return Found(("it has no version yet",))
    looked_at = []
    if retrain.rows is not None:
        looked_at.append(_rows(stores, model, newest, retrain.rows))
    if retrain.drift is not None:
        looked_at.append(_drift(stores, newest, retrain, retrain.drift))
    reasons = tuple(said for asks, said in looked_at if asks)
    return Found(reasons, tuple(said for asks, said in looked_at if not asks))


def _rows(stores: Stores, model: Model, newest: ModelVersion, asked: int) -> tuple[bool, str]:
    """Labels that became known after the last one that the training set of the newest version holds.

    Those of its test part count as known to it: they were there, and a split that does not move would leave them there
    for good.
    """
    label, kept = model.label, read_record(stores, newest)["datasets"]["training_set"]
    # Of what was imported unmeasured no rows are known: all that came since count.
    after = parse_time(kept["until"]) if kept is not None else newest.registered_at
    known = pl.col(label.known_at or label.time)
    rows = read_dataset(stores, label.dataset).filter(known > after).select(pl.len()).collect().item()
    return rows >= asked, f"{rows:,} new rows since {newest}, of {asked:,}"


def _drift(stores: Stores, newest: ModelVersion, retrain: Retrain, asked: float) -> tuple[bool, str]:
    since = stores.clock() - duration(retrain.window)
    if newest.registered_at > since:
        return False, f"drift is looked at when {newest} is {retrain.window} old"
    if not stores.lake.exists(log_table(newest.model)):
        return False, "drift is not known: there are no predictions"
    rows = read_log(stores, newest.model, start=since)
    if rows.height < retrain.least:
        return False, f"drift is not known: {rows.height:,} of {retrain.least:,} predictions in {retrain.window}"
    references = _references(read_record(stores, newest), rows.columns)
    if not references:
        return False, "drift is not known: the predictions have none of its features"
    most = feature_drift(references, {name: as_numpy(rows[name]) for name in references})[0]
    return most.psi >= asked, f"'{most.feature}' has drifted by {most.psi:.3f}, of {asked:g}"


def _references(record: Mapping[str, Any], logged: list[str]) -> dict[str, ReferenceDistribution]:
    return {
        one["name"]: ReferenceDistribution.from_dict(one["distribution"])
        for one in record["features"]
        if one["name"] in logged
    }
