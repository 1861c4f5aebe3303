"""Suggestions: which of the catalogue's features tell of a label, and do not tell again what others told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.columns import require_column
from carrara.core.definitions import Definitions
from carrara.core.errors import DataError, NotFoundError
from carrara.data.association import Binning, information
from carrara.data.statistics import profile
from carrara.data.versions import dataset_version, read_dataset
from carrara.features.entities import Entity
from carrara.features.on_demand import OnDemandView
from carrara.features.service import resolve_features
from carrara.features.training_set import join_features
from carrara.storage.stores import Stores

Codes = npt.NDArray[np.int64]

_MOST_CANDIDATES = 500


@dataclass(frozen=True)
class Suggestion:
    """One feature, in the order of choice.

    `relevance` is its mutual information with the label, `redundancy` the mean of that with the features chosen
    before it, both in nats; one whose redundancy is the greater tells little that is new.
    """

    feature: str
    relevance: float
    redundancy: float

    @property
    def score(self) -> float:
        return self.relevance - self.redundancy

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "score": self.score}


def suggest(
    stores: Stores,
    definitions: Definitions,
    dataset: str,
    label: str,
    time: str,
    *,
    most: int = 20,
    rows: int = 50_000,
    seed: int = 0,
) -> list[Suggestion]:
    """Rank the features that can be joined to a dataset's rows at `time` by what they tell of its column `label`.

    Chosen one by one for the greatest relevance less redundancy (mRMR: Peng, Long and Ding, 2005), on a sample of
    `rows` and over bins, as of each row's time. Raises DataError where no feature can be joined.
    """
    version = dataset_version(stores, dataset)
    frame = read_dataset(stores, dataset, version.version).drop_nulls([label, time]).collect()
    require_column(frame.schema, label, f"dataset '{dataset}'")
    frame = frame.sample(min(rows, frame.height), seed=seed)
    references = _joinable(definitions, set(frame.columns) - {label})
    if not references or frame.is_empty():
        raise DataError(
            f"no feature can be joined to dataset '{dataset}'",
            hint="It needs the key columns of an entity that has feature views, and rows with the label and the time.",
        )
    service = resolve_features(definitions, references, where="the suggestion")
    joined = join_features(stores, service, frame, time, where=f"dataset '{dataset}'")
    target = _codes(frame[label])
    codes = {name: _codes(joined[name]) for name in joined.columns}
    return choose(codes, target, most)


def choose(codes: dict[str, Codes], target: Codes, most: int) -> list[Suggestion]:
    """Choose features by their binned values, shape (rows,) each; those that tell nothing are left out."""
    relevance = {name: information(values, target) for name, values in codes.items()}
    telling = sorted((name for name in codes if relevance[name] > 0), key=lambda name: (-relevance[name], name))
    candidates = telling[:_MOST_CANDIDATES]
    place = {name: rank for rank, name in enumerate(candidates)}
    chosen: list[Suggestion] = []
    told = dict.fromkeys(candidates, 0.0)
    while candidates and len(chosen) < most:
        means = {name: told[name] / max(len(chosen), 1) for name in candidates}
        best = max(candidates, key=lambda name: (relevance[name] - means[name], -place[name]))
        chosen.append(Suggestion(best, relevance[best], means[best]))
        candidates.remove(best)
        for name in candidates:
            told[name] += information(codes[name], codes[best])
    return chosen


def _joinable(definitions: Definitions, columns: set[str]) -> tuple[str, ...]:
    """The views whose keys, request fields and inputs the columns give."""
    entities: dict[str, Entity] = definitions.of_kind("entity")
    stored = [
        view.name
        for view in definitions.of_kind("feature view").values()
        if view.entity in entities and set(entities[view.entity].keys) <= columns
    ]
    on_demand: list[str] = []
    waiting: list[OnDemandView] = list(definitions.of_kind("on-demand view").values())
    for _ in range(len(waiting)):
        for view in waiting:
            needed = {reference.partition(":")[0] for reference in view.inputs}
            given = set(view.request) <= columns and needed <= {*stored, *on_demand}
            if given and view.name not in on_demand:
                on_demand.append(view.name)
    return (*stored, *on_demand)


def _codes(values: pl.Series) -> Codes:
    return Binning.of(profile(values.to_frame()).columns[values.name]).codes(values)


def label_of(text: str) -> tuple[str, str]:
    """The dataset and the column of `DATASET:COLUMN`."""
    dataset, separator, column = text.partition(":")
    if not separator:
        raise NotFoundError("label", text, hint="Write it as DATASET:COLUMN, e.g. arrivals:late.")
    return dataset, column
