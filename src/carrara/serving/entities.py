"""Entities as a person writes them, as the columns that a predictor takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from carrara.core.clock import microseconds, parse_time
from carrara.core.errors import CarraraError, RequestError, did_you_mean
from carrara.models.signature import ENTITIES_SIGNATURE, EVENT_TIME, NUMPY_TYPES, PREDICTION_ID, QUERY_ID
from carrara.serving.predictor import ModelPredictor

_OPTIONAL = (QUERY_ID, EVENT_TIME, PREDICTION_ID)


def entity_columns(predictor: ModelPredictor, entities: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """One column per input from one mapping per row; RequestError names the row and the field at fault.

    Times are datetimes with a zone, or RFC 3339 texts. A missing number is None.
    """
    specs = {spec.name: spec.dtype for spec in predictor.signatures[ENTITIES_SIGNATURE].inputs}
    if not entities:
        raise RequestError("there are no entities to predict for")
    optional = [name for name in _OPTIONAL if not any(name in entity for entity in entities)]
    columns = {}
    for name, dtype in specs.items():
        if name not in optional:
            values = [_given(entity, name, place, specs) for place, entity in enumerate(entities)]
            columns[name] = _column(name, dtype, values)
    for place, entity in enumerate(entities):
        for name in entity:
            if name not in specs:
                raise RequestError(
                    f"row {place} has the unknown field '{name}'", field=name, hint=did_you_mean(name, specs)
                )
    return columns


def _given(entity: Mapping[str, Any], name: str, place: int, specs: Mapping[str, str]) -> Any:
    if name in entity:
        return entity[name]
    near = did_you_mean(name, [other for other in entity if other not in specs])
    needed, optional = [[n for n in specs if (n in _OPTIONAL) is may] for may in (False, True)]
    may = f"; it may give {', '.join(optional)}, which then all rows do" if optional else ""
    what = f"row {place} lacks '{name}'" + (f"; it has {near[13:-1]}" if near else "")
    raise RequestError(what, field=name, hint=f"Each row gives: {', '.join(needed)}{may}.")


def _column(name: str, dtype: str, values: list[Any]) -> np.ndarray[Any, Any]:
    try:
        if dtype == "datetime":
            return np.array([_microseconds(value) for value in values], dtype="datetime64[us]")
        if dtype == "string":
            return np.array([str(value) for value in values], dtype=object)
        missing = [np.nan if value is None else value for value in values]
        return np.array(missing, dtype=NUMPY_TYPES[dtype])
    except (ValueError, TypeError) as error:
        raise RequestError(f"'{name}' takes {dtype}: {error}", field=name) from error
    except RequestError:
        raise
    except CarraraError as error:
        raise RequestError(f"'{name}': {error.message}", field=name, hint=error.hint) from error


def _microseconds(value: Any) -> int:
    if isinstance(value, str):
        return microseconds(parse_time(value))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise RequestError(f"the time {value} names no zone", hint="Give it one: tzinfo=datetime.UTC.")
        return microseconds(value)
    raise TypeError(f"{value!r} is not a time")
