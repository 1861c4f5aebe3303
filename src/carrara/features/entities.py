"""Entities: the things that features describe, and the bytes of their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

_SEPARATOR = "\x1f"


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
    """The online key of each row, from its key columns in their declared order.

    >>> key_bytes({"origin": ["JFK"], "dest": ["SFO"]}, ("origin", "dest"))
    [b'JFK\\x1fSFO']
    """
    if isinstance(keys, pl.DataFrame):
        columns = [keys[name].cast(pl.String).fill_null("").to_list() for name in names]
    else:
        columns = [[str(value) for value in keys[name]] for name in names]
    if len(columns) == 1:
        return [value.encode() for value in columns[0]]
    return [_SEPARATOR.join(parts).encode() for parts in zip(*columns, strict=True)]
