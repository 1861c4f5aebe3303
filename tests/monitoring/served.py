"""Predictions of the small workspace's trips, as they were logged, without a server in between."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from carrara.core.columns import as_numpy
from carrara.features.training_set import join_features
from carrara.models.registry import opened
from carrara.monitoring.logged_predictions import LoggedPredictions
from carrara.monitoring.parity import service_of
from carrara.monitoring.prediction_log import PredictionLog
from carrara.workspace.workspace import Workspace


def trips_between(workspace: Workspace, start: datetime, end: datetime) -> pl.DataFrame:
    rows = workspace.datasets.read("trips").filter(pl.col("at").is_between(start, end, closed="left"))
    return rows.sort("at", "driver", "depot", "distance").unique(["at", "driver", "depot", "city"]).sort("at").collect()


def log_trips(
    workspace: Workspace,
    trips: pl.DataFrame,
    *,
    changed: dict[str, pl.Expr] | None = None,
    version: int = 1,
    **answered,
) -> pl.DataFrame:
    """Log the model's answers to trips; `changed` alters features after they were read, as a fault would."""
    model = workspace.models.get(f"late@{version}")
    service = service_of(workspace.stores, model)
    features = join_features(workspace.stores, service, trips, "at", where="trips")
    features = features.with_columns(expression.alias(name) for name, expression in (changed or {}).items())
    with opened(workspace.stores, model) as servable:
        outputs = servable.run(servable.signature.tensors(features))
    batch = LoggedPredictions(
        model="late",
        version=version,
        ids=[f"p{row}-{at}" for row, at in enumerate(trips["at"].dt.timestamp("us"))],
        event_times=trips["at"].dt.timestamp("us").to_numpy(),
        keys={name: trips[name].to_numpy().astype(object) for name in service.keys},
        request={"distance": trips["distance"].to_numpy()},
        features={name: np.asarray(as_numpy(features[name])) for name in service.features},
        outputs=outputs,
        **answered,
    )
    log = PredictionLog(workspace.stores)
    log.append(batch)
    log.close()
    return trips.with_columns(pl.Series("prediction_id", batch.ids))
