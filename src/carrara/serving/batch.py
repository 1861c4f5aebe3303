"""Batch prediction: a file or a dataset of entities in, one with predictions out, by the offline features of each row's
time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from carrara.core.columns import POLARS_TYPES, UTC_TIME, require_column, utc_times
from carrara.core.errors import DataError
from carrara.data.ingest import Ingested, ingest_rows
from carrara.data.versions import dataset_version, read_dataset
from carrara.features.model_features import features_of_model
from carrara.features.training_set import join_features
from carrara.models.registry import ModelVersion, opened, read_record, recorded_definitions
from carrara.models.signature import EVENT_TIME
from carrara.storage.stores import Stores


def predict_batch(stores: Stores, version: ModelVersion, source: Path, target: Path) -> int:
    """Predict every row of `source` (CSV or Parquet) into `target`, and return the number of rows.

    Rows hold entity keys, request fields and, optionally, `event_time`; features are joined point-in-time from
    the offline tables, so that a past time sees only what was known then. `target` is complete or absent.
    """
    rows = _predicted(stores, version, _read(source), str(source))
    _write(rows, target)
    return rows.height


def predict_dataset(
    stores: Stores, version: ModelVersion, dataset: str, into: str, *, time: str | None = None
) -> Ingested:
    """Predict every row of a dataset's newest version into the next version of the dataset `into`.

    `time` is the column that says of when a row is; by default `event_time`, or now. The new version's lineage leads to
    the model version and to the rows that it was asked. Raises as `predict_batch` does, and CheckFailed where `into`
    had other columns.
    """
    asked = dataset_version(stores, dataset)
    rows = read_dataset(stores, dataset, asked.version).collect()
    if time is not None:
        require_column(rows.schema, time, asked.address)
        rows = rows.with_columns(pl.col(time).alias(EVENT_TIME))
    found = _predicted(stores, version, rows, asked.address).with_columns(model_version=pl.lit(version.version))
    source = {"kind": "predictions", "model": str(version), "dataset": asked.address}
    return ingest_rows(stores, into, found, source=source, made_from=[f"model:{version}", asked.address])


def _predicted(stores: Stores, version: ModelVersion, rows: pl.DataFrame, where: str) -> pl.DataFrame:
    """The rows with what the version predicts for them, by the offline features of each row's time."""
    definitions = recorded_definitions(stores, version)
    model = definitions.of_kind("model")[version.model]
    service = features_of_model(definitions, model, where=f"model '{version}'")
    typed = _typed(rows, service.request, where)
    if EVENT_TIME not in rows.columns:
        typed = typed.with_columns(pl.lit(stores.clock()).cast(UTC_TIME).alias(EVENT_TIME))
    features = join_features(stores, service, typed, EVENT_TIME, where=where)
    with opened(stores, version) as servable:
        outputs = servable.run(servable.signature.tensors(features))
    record = read_record(stores, version)
    classes = record["parameters"].get("classes", [])
    several = record["configuration"]["label"].get("kind") == "multilabel"
    threshold = float(record["configuration"].get("threshold", 0.5)) if several else None
    return rows.with_columns(*_columns(outputs, classes, threshold))


def _columns(
    outputs: Mapping[str, np.ndarray[Any, Any]], classes: Sequence[str], threshold: float | None
) -> Iterator[pl.Series]:
    """Outputs as columns: of several classes the probability of each, and the most probable one, or, of several labels,
    all from the threshold on."""
    for name, values in outputs.items():
        if values.ndim == 1:
            yield pl.Series(name, values)
            continue
        yield from (pl.Series(f"{name}:{label}", values[:, place]) for place, label in enumerate(classes))
        if name == "probabilities" and threshold is not None:
            named = [[classes[place] for place in np.flatnonzero(row).tolist()] for row in values >= threshold]
            yield pl.Series("predicted", named, dtype=pl.List(pl.String))
        elif name == "probabilities":
            yield pl.Series("predicted", [classes[place] for place in values.argmax(axis=1)])


def _read(source: Path) -> pl.DataFrame:
    try:
        if source.suffix == ".parquet":
            return pl.read_parquet(source, glob=False)
        return pl.read_csv(source, infer_schema_length=None, glob=False)
    except (PolarsError, OSError) as error:
        raise DataError(f"{source} cannot be read: {error}", hint="Give a CSV or a Parquet file.") from error


def _typed(rows: pl.DataFrame, request: dict[str, str], where: str) -> pl.DataFrame:
    declared = {**request, EVENT_TIME: "datetime"} if EVENT_TIME in rows.columns else request
    for name, dtype in declared.items():
        found = require_column(rows.schema, name, where)
        if dtype == "datetime":
            rows = rows.with_columns(utc_times(rows[name], where))
        elif found.is_numeric() and dtype != "string":
            rows = rows.with_columns(pl.col(name).cast(POLARS_TYPES[dtype]))
    return rows


def _write(rows: pl.DataFrame, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    try:
        if target.suffix == ".parquet":
            rows.write_parquet(partial)
        else:
            # A CSV has no lists.
            rows.with_columns(pl.col(pl.List(pl.String)).list.join(";")).write_csv(partial)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{target} cannot be written: {error}") from error
