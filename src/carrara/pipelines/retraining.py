"""Retraining: whether a model should be trained again, and why, by its `Retrain`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from carrara.core.clock import parse_time
from carrara.data.versions import read_dataset
from carrara.models.registry import read_record
from carrara.pipelines.continued import newest_version
from carrara.storage.stores import Stores
from carrara.training.model import Model
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
    """What was looked at, in words, and whether it asks for a training."""

    said: str
    asks: bool


def reason_to_retrain(stores: Stores, model: Model, retrain: Retrain) -> Found:
    """Whether labels enough became known after the last one that the training set of the newest version holds.

    Those of its test part count as known to it: they were there, and a split that does not move would leave them there
    for good.
    """
    newest = newest_version(stores, model.name)
    if newest is None:
        return Found("it has no version yet", asks=True)
    label, until = model.label, read_record(stores, newest)["datasets"]["training_set"]["until"]
    known = pl.col(label.known_at or label.time)
    rows = read_dataset(stores, label.dataset).filter(known > parse_time(until)).select(pl.len()).collect().item()
    return Found(f"{rows:,} new rows since {newest}, of {retrain.rows:,}", asks=rows >= retrain.rows)
