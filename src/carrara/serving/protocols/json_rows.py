"""Rows of a JSON body that are not arrays yet: those of all requests that wait become arrays together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Self

import numpy as np

from carrara.core.named_columns import Batch, Columns
from carrara.serving.protocols.json_tensors import to_array
from carrara.serving.protocols.tensors import Array

_NUMBERS = {int, float, type(None)}


class JsonRows(Batch):
    """A mapping from `names` to arrays of objects, one value a row; every row has these names."""

    def __init__(self, names: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> None:
        self.names, self.rows = names, rows

    def __getitem__(self, name: str) -> Array:
        return to_array(name, [row[name] for row in self.rows])

    @property
    def height(self) -> int:
        return len(self.rows)

    def followed_by(self, others: Sequence[JsonRows]) -> Self:
        return type(self)(self.names, [*self.rows, *chain.from_iterable(other.rows for other in others)])

    def columns(self) -> Columns | None:
        """The rows as one matrix of float64, NaN for null, where all of them are numbers."""
        values = [[row[name] for name in self.names] for row in self.rows]
        if not set(map(type, chain.from_iterable(values))) <= _NUMBERS:
            return None
        try:
            return Columns(self.names, np.array(values, np.float64))
        except OverflowError:
            return None
