"""Requests for features: entities as a person or a program writes them, as the columns that retrieval takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from carrara.core.arrays import declared_shape, flat_arrays
from carrara.core.clock import microseconds
from carrara.core.columns import POLARS_TYPES, as_numpy, type_name, utc_times
from carrara.core.errors import DataError, RequestError, did_you_mean
from carrara.features.service import ResolvedFeatures

Array = np.ndarray[Any, Any]
_EVENT_TIME = "event_time"


@dataclass(frozen=True)
class FeatureRequest:
    """Columns of keys, of request fields, and each row's time in microseconds."""

    keys: Mapping[str, Array]
    fields: Mapping[str, Array]
    at: Array


def as_request(
    service: ResolvedFeatures, whole_numbers: Mapping[str, bool], entities: Any, now: datetime
) -> FeatureRequest:
    """Entities of any kind as columns; RequestError names the column at fault.

    `whole_numbers` says of each key whether it is a whole number, where that is known.
    """
    frame = _as_frame(entities)
    _refuse_unknown(service, frame)
    keys = {name: _key(_column(frame, name, service), whole_numbers.get(name)) for name in service.keys}
    fields = {name: _field(_column(frame, name, service), type_) for name, type_ in service.request.items()}
    if _EVENT_TIME not in frame.columns:
        return FeatureRequest(keys, fields, np.full(frame.height, microseconds(now), dtype=np.int64))
    try:
        times = utc_times(frame[_EVENT_TIME], "the request")
    except DataError as error:
        raise RequestError(error.message, field=_EVENT_TIME, hint=error.hint) from error
    return FeatureRequest(keys, fields, times.fill_null(now).dt.timestamp("us").to_numpy())


def _as_frame(entities: Any) -> pl.DataFrame:
    if isinstance(entities, pl.DataFrame):
        return entities
    import narwhals as nw

    try:
        if isinstance(entities, Mapping):
            return pl.DataFrame(dict(entities))
        if isinstance(entities, list | tuple):
            return pl.DataFrame(entities, infer_schema_length=None, orient="row")
        frame: pl.DataFrame = nw.from_native(entities, eager_only=True).to_polars()
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise RequestError(
            f"the entities are no table: {error}",
            hint="Give a dataframe, a mapping of columns, or a list of mappings, one a row.",
        ) from error
    return frame


def _refuse_unknown(service: ResolvedFeatures, frame: pl.DataFrame) -> None:
    known = [*service.keys, *service.request, _EVENT_TIME]
    for name in frame.columns:
        if name not in known:
            raise RequestError(f"there is no key or request field '{name}'", field=name, hint=_hint(name, known))


def _column(frame: pl.DataFrame, name: str, service: ResolvedFeatures) -> pl.Series:
    if name not in frame.columns:
        kind = "entity key" if name in service.keys else "request field"
        known = [*service.keys, *service.request]
        raise RequestError(f"the {kind} '{name}' is missing", field=name, hint=f"Each row gives: {', '.join(known)}.")
    return frame[name]


def _key(values: pl.Series, whole_number: bool | None) -> Array:
    number = values.dtype.is_integer()
    if not (number or values.dtype in (pl.String, pl.Null)) or (number and whole_number is False):
        expected = "a whole number" if whole_number else "a text" if whole_number is False else "a text or whole number"
        raise RequestError(
            f"the entity key '{values.name}' is {type_name(values.dtype)}, and it is {expected}", field=values.name
        )
    if whole_number and not number:
        try:
            values = values.cast(pl.Int64)
        except pl.exceptions.PolarsError:
            raise RequestError(
                f"the entity key '{values.name}' is text, and it is a whole number", field=values.name
            ) from None
    return values.to_numpy() if not values.has_nulls() else np.array(values.to_list(), dtype=object)


def _field(values: pl.Series, type_: str) -> Array:
    try:
        if shape := declared_shape(type_):
            return flat_arrays(values, shape, "the request").reshape(-1, *shape)
        if type_ == "datetime":
            return as_numpy(utc_times(values, "the request"))  # type: ignore[no-any-return]
        return as_numpy(values.cast(POLARS_TYPES[type_]))  # type: ignore[no-any-return]
    except (DataError, pl.exceptions.PolarsError) as error:
        raise RequestError(f"the request field '{values.name}' takes {type_}: {error}", field=values.name) from error


def _hint(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or f"Each row gives: {', '.join(known)}."
