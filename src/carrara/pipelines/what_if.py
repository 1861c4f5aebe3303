"""A row that somebody thinks of: some features as told, the others as the training rows have them in the middle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from carrara.core.errors import DataError, NotFoundError
from carrara.models.signature import Signature, TensorSpec

_BOOLEANS = {"true": 1.0, "false": 0.0}


def what_if(signature: Signature, typical: Mapping[str, Any], told: Mapping[str, str], whose: str) -> pl.DataFrame:
    """One row of features: as `told`, an empty text for a missing value, and else as is `typical`.

    NotFoundError names the nearest feature, DataError a number that is none, and a feature that is an array.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    for name in told:
        if name not in specs:
            raise NotFoundError("feature", name, specs, where=whose)
    values = {name: _value(spec, told[name]) if name in told else typical.get(name) for name, spec in specs.items()}
    schema = {name: pl.String if spec.dtype == "string" else pl.Float64 for name, spec in specs.items()}
    return pl.DataFrame({name: [value] for name, value in values.items()}, schema=schema)


def typical_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of each feature the median of the training rows, or their most frequent text; None where none is known."""
    found: dict[str, Any] = {}
    for one in record["features"]:
        statistics = one.get("statistics") or {}
        if quantiles := statistics.get("quantiles"):
            found[one["name"]] = quantiles[len(quantiles) // 2]
        else:
            frequent = next((top["value"] for top in statistics.get("top") or ()), None)
            found[one["name"]] = _BOOLEANS.get(str(frequent)) if one["dtype"] == "bool" else frequent
    return found


def _value(spec: TensorSpec, text: str) -> Any:
    if len(spec.shape or ()) > 1:
        raise DataError(f"'{spec.name}' is an array", hint="Give rows in a file: --path rows.parquet.")
    if not text or spec.dtype == "string":
        return text or None
    try:
        number = _BOOLEANS[text.lower()] if text.lower() in _BOOLEANS else float(text)
    except ValueError:
        raise DataError(f"'{spec.name}' is a number, and '{text[:40]}' is none") from None
    return None if math.isnan(number) else number
