"""Tables of embeddings, in shards on several parameter servers where they are large.

A table is cut by its rows, into shards that are nearly equal; a state has it whole, so that it is the same wherever it
was trained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from carrara.training.trainers.base import Array

SHARD_BYTES = 262_144
"""A shard is no smaller: to ask one more server would take longer than what it spares, as TensorFlow says."""

_SHARD = re.compile(r"shard_\d+")


def shards_of(size: int, width: int, servers: int) -> int:
    """How many shards a float32 table has, at most one a server.

    >>> shards_of(1_000, 32, 4), shards_of(5_000, 32, 4), shards_of(1_000_000, 32, 4)
    (1, 2, 4)
    """
    return max(1, min(servers, 4 * size * width // SHARD_BYTES))


def table(tensorflow: Any, keras: Any, size: int, width: int, shards: int) -> Any:
    """A layer from places, int32 of any shape, to rows of a table of shape (size, width)."""
    if shards == 1:
        return keras.layers.Embedding(size, width)

    class Table(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            rows = [len(part) for part in np.array_split(np.arange(size), shards)]
            self.tables = [
                self.add_weight((count, width), "uniform", name=f"shard_{n}") for n, count in enumerate(rows)
            ]

        def call(self, places: Any) -> Any:
            # Looked up where the shards are, so that only the rows that are asked for are sent.
            found = tensorflow.nn.embedding_lookup([one.value for one in self.tables], places)
            return tensorflow.cast(found, self.compute_dtype)

        def compute_output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
            return (*shape, width)

    return Table(name="table")


class Whole:
    """Variables of a net, with those of a table's shards as one."""

    def __init__(self, variables: Sequence[Any]) -> None:
        found: dict[str, list[Any]] = {}
        for number, one in enumerate(variables):
            sharded = _SHARD.search(one.path) is not None
            # Of several variables with one path each is its own.
            found.setdefault(_SHARD.sub("shard", one.path) if sharded else f"{number}", []).append(one)
        self.groups = list(found.values())

    def read(self) -> list[Array]:
        return [_joined([one.numpy() for one in group]) for group in self.groups]

    def write(self, values: Sequence[Array]) -> None:
        for group, given in zip(self.groups, values, strict=True):
            for variable, part in zip(group, _cut(group, given), strict=True):
                variable.assign(part)

    def names(self) -> list[str]:
        return [str(group[0].path) for group in self.groups]


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts) if len(parts) > 1 else np.array(parts[0])


def _cut(group: Sequence[Any], values: Array) -> Sequence[Array]:
    if len(group) == 1:
        return [values]
    return np.split(values, np.cumsum([one.shape[0] for one in group])[:-1])
