"""Row-level parity: logged features against the point-in-time join of the same keys and times, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import CarraraError
from carrara.features.model_features import features_of_model
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import join_features
from carrara.models.registry import ModelVersion, recorded_definitions
from carrara.monitoring.source_rows import SourceRow, source_row
from carrara.storage.stores import Stores

ROWS = 200
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Difference:
    """A feature whose logged value is not the offline join's: in how many rows, and the first of them explained."""

    feature: str
    rows: int
    prediction_id: str
    online: Any
    offline: Any
    why: str

    def __str__(self) -> str:
        first = f"first {self.prediction_id}: {self.online} online, {self.offline} offline"
        return f"{self.feature}: {self.rows} rows, {first}. {self.why}"


@dataclass(frozen=True)
class Parity:
    """Of `compared` rows, `different` have a feature that is not what the offline join gives."""

    compared: int
    different: int
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "differences": [vars(one) for one in self.differences]}


def service_of(stores: Stores, version: ModelVersion) -> ResolvedFeatures:
    """The features that a version reads, by the definitions that were recorded with it."""
    definitions = recorded_definitions(stores, version)
    model = definitions.of_kind("model")[version.model]
    return features_of_model(definitions, model, where=f"model '{version}'")


def compare_rows(
    stores: Stores, service: ResolvedFeatures, log: pl.DataFrame, *, rows: int = ROWS, seed: int = 0
) -> Parity | None:
    """Compare a sample of logged rows that were read online; None where there is none, or no table to join with."""
    read = log.filter(pl.col("features_from").str.starts_with("online")) if "features_from" in log.columns else log
    if read.is_empty() or not {*service.keys, *service.request} <= set(read.columns):
        return None
    drawn = read.sample(min(rows, read.height), seed=seed)
    try:
        offline = join_features(stores, service, drawn, "event_time", where="the prediction log")
    except CarraraError:
        return None
    differs = np.zeros(drawn.height, bool)
    found = []
    for name in service.features:
        different = _different(drawn[name], offline[name])
        if different.any():
            differs |= different
            place = int(different.argmax())
            row = drawn.row(place, named=True)
            why = _why(stores, service, name, row)
            values = (drawn[name][place], offline[name][place])
            found.append(Difference(name, int(different.sum()), row["prediction_id"], *values, why))
    return Parity(drawn.height, int(differs.sum()), tuple(sorted(found, key=lambda one: -one.rows)))


def _different(online: pl.Series, offline: pl.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if online.dtype == pl.String or offline.dtype == pl.String:
        same = online.cast(pl.String).eq_missing(offline.cast(pl.String))
        return ~same.to_numpy().astype(bool)
    one, other = (values.cast(pl.Float64).fill_null(float("nan")).to_numpy() for values in (online, offline))
    different: np.ndarray[Any, np.dtype[np.bool_]] = ~np.isclose(
        one, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
    )
    return different


def _why(stores: Stores, service: ResolvedFeatures, feature: str, row: dict[str, Any]) -> str:
    """What is known of the cause of a difference."""
    name = feature.partition(":")[0]
    if f"{name}: " in str(row.get("features_from")):
        return "The online store did not answer, and the policy's value was taken."
    view = next((view for view, _ in service.stored if view.name == name), None)
    if view is None:
        return f"'{name}' is computed on demand: look at its inputs first, then at its code."
    offline = source_row(stores, service, name, row)
    online = row.get(f"{name}:event_time")
    if offline is None:
        return "The offline table has no row for it: the online store was told otherwise, or was not cleared."
    if not isinstance(offline, SourceRow):
        return ""
    if online is None and f"{name}:event_time" in row:
        return f"Nothing was online, and the row of {offline.event_time:%Y-%m-%d %H:%M:%S} was known: not materialised."
    if online is not None and online != offline.event_time:
        late = "older" if online < offline.event_time else "newer"
        return (
            f"Online was the {late} row of {online:%Y-%m-%d %H:%M:%S}; "
            f"known by then was that of {offline.event_time:%Y-%m-%d %H:%M:%S}."
        )
    return f"Both are of the row of {offline.event_time:%Y-%m-%d %H:%M:%S}: it was changed since it was served."
