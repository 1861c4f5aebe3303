"""Inputs of one value a row and name that are moved as a whole: named columns of one matrix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, Any]


class Batch(Mapping[str, Array]):
    """Inputs of one value a row and name that are moved as a whole, and made arrays by name only where one is asked."""

    names: tuple[str, ...]

    @property
    @abstractmethod
    def height(self) -> int:
        """How many rows there are."""

    @property
    def form(self) -> tuple[Any, ...]:
        """What is equal for batches that can follow each other."""
        return (type(self), self.names)

    @abstractmethod
    def followed_by(self, others: Sequence[Any]) -> Self:
        """These rows and those of others, which are of the same class, with the same names in the same order."""

    @abstractmethod
    def columns(self) -> Columns | None:
        """The same as columns of one matrix of numbers; None where they are none."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Columns(Batch):
    """A mapping from `names` to the columns of `matrix`, of shape (rows, names).

    >>> columns = Columns(("a", "b"), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> columns["b"].tolist(), columns.ordered(("b", "a")).tolist()
    ([2.0, 4.0], [[2.0, 1.0], [4.0, 3.0]])
    """

    def __init__(self, names: tuple[str, ...], matrix: Array) -> None:
        self.names, self.matrix = names, matrix

    def __getitem__(self, name: str) -> Array:
        column: Array = self.matrix[:, _places(self.names)[name]]
        return column

    def __contains__(self, name: object) -> bool:
        return name in _places(self.names)

    @property
    def height(self) -> int:
        return len(self.matrix)

    def followed_by(self, others: Sequence[Columns]) -> Self:
        return type(self)(self.names, np.concatenate([self.matrix, *(other.matrix for other in others)]))

    def columns(self) -> Columns:
        return self

    def ordered(self, names: tuple[str, ...]) -> Array:
        """The matrix with its columns in the order of `names`, which are the same names."""
        return self.matrix if names == self.names else np.take(self.matrix, _order(self.names, names), axis=1)

    def cast(self, dtype: np.dtype[Any]) -> Columns:
        return self if self.matrix.dtype == dtype else Columns(self.names, self.matrix.astype(dtype))


def as_matrix(inputs: Mapping[str, Array], names: tuple[str, ...], dtype: np.dtype[Any]) -> Array:
    """The columns `names` of inputs side by side, of shape (rows, names); those of more axes row by row."""
    if isinstance(inputs, Columns) and len(inputs) == len(names):
        return np.ascontiguousarray(inputs.ordered(names), dtype)
    columns = [np.asarray(inputs[name], dtype) for name in names]
    return np.column_stack([one.reshape(len(one), -1) if one.ndim > 2 else one for one in columns])


@lru_cache(maxsize=256)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


@lru_cache(maxsize=256)
def _order(names: tuple[str, ...], wanted: tuple[str, ...]) -> Array:
    places = _places(names)
    return np.array([places[name] for name in wanted])
