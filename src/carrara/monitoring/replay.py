"""Replay: what a version would have answered to requests of the past, as a shadow would have reported it.

Each logged request is put to the candidate with the features that its own definitions had for it at that time, by the
point-in-time join of the offline tables, which is what the online store would have given then.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import DataError
from carrara.features.model_features import features_of_model
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import join_features
from carrara.models.registry import ModelVersion, opened, recorded_definitions, written_record
from carrara.models.signature import DEFAULT_SIGNATURE, EVENT_TIME
from carrara.monitoring.divergence import Divergence, Pairs, divergence
from carrara.monitoring.outcomes import LABEL, OutcomeRule, join_outcomes
from carrara.monitoring.prediction_log import log_table, once, scan_log
from carrara.storage.stores import Stores

_BATCH = 50_000


def replay(stores: Stores, version: ModelVersion, *, since: timedelta, endpoint: str = "") -> Divergence:
    """Put what was asked since then to `version`, and compare, also with what then happened.

    Of requests of every endpoint that answered by this model, or of one. DataError where nothing can be replayed.
    """
    log = _log(stores, version, since).filter(~pl.col("shadow"))
    if endpoint:
        log = log.filter(pl.col("endpoint") == endpoint)
    rows = log.collect()
    service = _service(stores, version)
    rows = _asked_by_keys(rows, service, version)
    record = written_record(stores, version)
    score = record["signature"][DEFAULT_SIGNATURE]["outputs"][0]["name"]
    if score not in rows.columns:
        raise DataError(f"{version} answers '{score}', which what was logged has not", hint="It has another signature.")
    answers: list[Any] = []
    with opened(stores, version) as servable:
        for start in range(0, rows.height, _BATCH):
            part = rows.slice(start, _BATCH)
            features = join_features(stores, service, part, EVENT_TIME, where="the prediction log")
            # The log keeps what float32 makes of an answer, and no more.
            answers += np.asarray(servable.run(servable.signature.tensors(features))[score]).tolist()
    paired = rows.with_columns(pl.Series("candidate", answers), given=pl.col(score))
    return divergence(_pairs(stores, version, record, paired))


def shadowed(stores: Stores, version: ModelVersion, *, since: timedelta) -> Divergence:
    """What a version answered as a shadow, against what was given under the same ids."""
    record = written_record(stores, version)
    score = record["signature"][DEFAULT_SIGNATURE]["outputs"][0]["name"]
    log = _log(stores, version, since)
    ours = log.filter(pl.col("shadow") & (pl.col("version") == version.version))
    theirs = log.filter(~pl.col("shadow")).with_columns(given=pl.col(score))
    paired = theirs.join(ours.select("prediction_id", candidate=pl.col(score)), on="prediction_id").collect()
    if paired.is_empty():
        raise DataError(
            f"{version} has shadowed nothing in this time", hint=f"carrara deploy {version} --shadow, or carrara replay"
        )
    return divergence(_pairs(stores, version, record, paired))


def _log(stores: Stores, version: ModelVersion, since: timedelta) -> pl.LazyFrame:
    if not stores.lake.exists(log_table(version.model)):
        raise DataError(f"no prediction of '{version.model}' is logged yet", hint="carrara serve logs them.")
    start: datetime = stores.clock() - since
    rows = once(scan_log(stores, version.model).filter(pl.col("logged_at") >= start))
    return rows.sort("event_time", "prediction_id")


def _service(stores: Stores, version: ModelVersion) -> ResolvedFeatures:
    definitions = recorded_definitions(stores, version)
    model = definitions.of_kind("model")[version.model]
    return features_of_model(definitions, model, where=f"model '{version}'")


def _asked_by_keys(rows: pl.DataFrame, service: ResolvedFeatures, version: ModelVersion) -> pl.DataFrame:
    """The requests that named all that the candidate needs: its keys, and its request fields."""
    needed = [*service.keys, *service.request]
    absent = [name for name in needed if name not in rows.columns]
    if absent:
        raise DataError(f"what was logged has no '{absent[0]}', which {version} needs")
    kept = rows.drop_nulls(service.keys)
    if kept.is_empty():
        raise DataError("nothing was asked by entity keys in this time", hint="Name a longer time: --since 30d.")
    return kept


def _pairs(stores: Stores, version: ModelVersion, record: dict[str, Any], paired: pl.DataFrame) -> Pairs:
    joined = join_outcomes(stores, OutcomeRule.of(stores, version), paired)
    return Pairs(
        model=version.model,
        version=version.version,
        kind=record["configuration"]["label"].get("kind", "binary"),
        classes=tuple(record["parameters"].get("classes", ())),
        rows=joined.with_columns(outcome=pl.col(LABEL)),
    )
