"""Scores of an opened model, and of a registered version on labelled rows that it was not trained with: its own
features, as known then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import CarraraError
from carrara.data.rows import Rows, StoredRows, batches, split_table
from carrara.features.model_features import features_of_model
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import join_features, read_training_set
from carrara.models.registry import ModelVersion, opened, recorded_definitions
from carrara.models.runtimes.base import Servable
from carrara.storage.stores import Stores
from carrara.training.model import Model


def recorded_model(stores: Stores, version: ModelVersion) -> tuple[Model, ResolvedFeatures]:
    """A version's definition and its features, as they were when it was trained."""
    definitions = recorded_definitions(stores, version)
    model = definitions.get("model", version.model, Model)
    return model, features_of_model(definitions, model, where=f"model '{version}'")


def test_rows(stores: Stores, version: ModelVersion, model: Model, record: Mapping[str, Any]) -> StoredRows:
    """The test part of a version's training set; CarraraError for one that was imported without rows."""
    if record["datasets"]["training_set"] is None:
        raise CarraraError(
            f"{version} was imported, and no test rows of it are known", hint="Name a version that was trained here."
        )
    _, table = read_training_set(stores, version.model, record["datasets"]["training_set"]["version"])
    return split_table(table, model.split, time=model.label.time, known_at=model.label.known_at)["test"]


def row_columns(service: ResolvedFeatures, time: str) -> Sequence[str]:
    """What of a row the features are looked up by."""
    return tuple(dict.fromkeys((*service.keys, *service.request, time)))


def version_scores(
    stores: Stores, version: ModelVersion, service: ResolvedFeatures, rows: pl.DataFrame, time: str
) -> Any:
    """The version's first output for each of `rows`, which hold keys, request fields and `time`."""
    features = join_features(stores, service, rows, time, where=f"the rows that {version} is asked")
    with opened(stores, version) as servable:
        return scores_of(servable, features)


def scores_of(servable: Servable, rows: Rows, changed: Callable[[pl.DataFrame], pl.DataFrame] | None = None) -> Any:
    """The first output for every row, some at a time; each as it is, or as it is `changed` first."""
    signature = servable.signature
    found, done = np.empty(0), 0
    for one in batches(rows, [spec.name for spec in signature.inputs]):
        asked = one if changed is None else changed(one)
        answers = servable.run(signature.tensors(asked))[signature.outputs[0].name]
        if not done:
            found = np.empty((rows.height, *answers.shape[1:]), answers.dtype)
        found[done : done + one.height] = answers
        done += one.height
    return found
