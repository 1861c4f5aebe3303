"""Columns of a JSON body that are not arrays yet: those of all requests that wait become one matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Self, TypeGuard

import numpy as np

from carrara.core.named_columns import Batch, Columns
from carrara.serving.protocols.json_tensors import to_array
from carrara.serving.protocols.tensors import Array

_NUMBERS = {int, float}


class JsonColumns(Batch):
    """A mapping from names to arrays of numbers, one value a row, of `lists` that `is_columns` has looked at.

    They are of type `dtype` where the wire says so; else they are objects, and their type is the signature's to say.
    """

    def __init__(self, lists: Mapping[str, Sequence[float]], dtype: np.dtype[Any] | None = None) -> None:
        self.names, self.lists, self.dtype = tuple(lists), lists, dtype

    def __getitem__(self, name: str) -> Array:
        array = to_array(name, self.lists[name])
        return array if self.dtype is None else array.astype(np.float64).astype(self.dtype)

    @property
    def form(self) -> tuple[Any, ...]:
        return (*super().form, self.dtype)

    @property
    def height(self) -> int:
        return len(self.lists[self.names[0]])

    def followed_by(self, others: Sequence[JsonColumns]) -> Self:
        every = [self.lists, *(other.lists for other in others)]
        joined = {name: list(chain.from_iterable([lists[name] for lists in every])) for name in self.names}
        return type(self)(joined, self.dtype)

    def columns(self) -> Columns | None:
        """One matrix of `dtype`, or of float64; None for a number that this has not."""
        try:
            columns = Columns(self.names, np.array([self.lists[name] for name in self.names], np.float64).T)
        except OverflowError:
            return None
        return columns if self.dtype is None else columns.cast(self.dtype)


def is_columns(lists: Sequence[Any]) -> TypeGuard[Sequence[list[float]]]:
    """Whether these are lists of numbers, all as long as the first, and not empty.

    >>> is_columns([[1.0, 2], [3, 4]]), is_columns([[1.0], [True]]), is_columns([[1.0], [2.0, 3.0]])
    (True, False, False)
    """
    if not lists or set(map(type, lists)) != {list}:
        return False
    sizes = set(map(len, lists))
    return len(sizes) == 1 and 0 not in sizes and set(map(type, chain.from_iterable(lists))) <= _NUMBERS
