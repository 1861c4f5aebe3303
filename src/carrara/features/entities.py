"""Entities: the things that features describe, and the bytes of their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

_SEPARATOR = "\x1f"
_NOBODY = b"\xff"
"""The key of a row that lacks one: no text is encoded like this, so no entity is found by it."""


@dataclass(frozen=True)
class Entity:
    """A thing that features describe, by one or several key columns of strings or whole numbers.

    >>> Entity("route", keys=("origin", "dest")).keys
    ('origin', 'dest')
    """

    name: str
    keys: tuple[str, ...]
    description: str = ""

    kind = "entity"

    def spec(self) -> dict[str, Any]:
        return {"keys": list(self.keys), "description": self.description}


def key_bytes(keys: Mapping[str, Any] | pl.DataFrame, names: tuple[str, ...]) -> list[bytes]:
    """The online key of each row, from its key columns in their declared order; equal for equal keys only.

    >>> key_bytes({"origin": ["JFK"], "dest": ["SFO"]}, ("origin", "dest"))
    [b'JFK\\x1fSFO']
    """
    columns = [_texts(keys[name]) for name in names]
    if len(columns) == 1:
        return [_NOBODY if value is None else value.encode() for value in columns[0]]
    escaped = [[value if value is None else _escaped(value) for value in column] for column in columns]
    return [_NOBODY if None in parts else _SEPARATOR.join(parts).encode() for parts in zip(*escaped, strict=True)]


def _texts(values: Any) -> list[str | None]:
    if isinstance(values, pl.Series):
        return values.cast(pl.String).to_list()
    found = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if set(map(type, found)) == {str}:
        return found
    return [None if value is None else str(value) for value in values]


def _escaped(value: str) -> str:
    """Without the separator, so that two keys that share their letters stay two."""
    return value.replace("\\", "\\\\").replace(_SEPARATOR, "\\u")
