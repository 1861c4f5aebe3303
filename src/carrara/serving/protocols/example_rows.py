"""Serialized `tf.Example`s as columns, for a model that takes its features by name and no examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from carrara.core.errors import RequestError
from carrara.models.signature import Signature
from carrara.serving.protocols.messages import message

Array = np.ndarray[Any, Any]

EXAMPLES = "inputs"
"""The input of a signature that takes serialized examples."""


def with_columns(inputs: Mapping[str, Array], signatures: Mapping[str, Signature], where: str) -> Mapping[str, Array]:
    """The inputs, with examples taken apart where no signature takes them as they are."""
    if inputs.keys() != {EXAMPLES} or any(spec.name == EXAMPLES for one in signatures.values() for spec in one.inputs):
        return inputs
    return _columns(inputs[EXAMPLES], where)


def _columns(examples: Array, where: str) -> dict[str, Array]:
    rows = [_features(data, place) for place, data in enumerate(examples.flat)]
    names = list(rows[0]) if rows else []
    for place, row in enumerate(rows):
        for name in row:
            if name not in rows[0]:
                raise RequestError(f"example {place} has the feature '{name}', which the first has not", field=name)
    columns = {}
    for name in names:
        columns[name] = np.empty(len(rows), dtype=object)
        columns[name][:] = [_value(row, name, place, where) for place, row in enumerate(rows)]
    return columns


def _features(data: Any, place: int) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message("tensorflow.Example").FromString(data).features.feature
    except (DecodeError, TypeError) as error:
        raise RequestError(f"row {place} is not a serialized tf.Example: {error}") from error


def _value(row: Any, name: str, place: int, where: str) -> Any:
    kind = row[name].WhichOneof("kind") if name in row else None
    values: Sequence[Any] = getattr(row[name], kind).value if kind else []
    if len(values) != 1:
        raise RequestError(f"example {place} has {len(values)} values for '{name}', and {where} takes one", field=name)
    return values[0]
