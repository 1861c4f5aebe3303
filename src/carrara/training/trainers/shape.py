"""The shape of a net of dense layers: numbers as they are, an embedding of each column of categories, the layers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from carrara.training.trainers.base import Task
from carrara.training.trainers.blocks import blocks_of

_MOST_DIMENSIONS = 50


@dataclass(frozen=True)
class Shape:
    """A net's columns and widths: places of numbers, and of categories with how many there are."""

    numbers: tuple[int, ...]
    categories: tuple[tuple[int, int], ...]
    layers: tuple[int, ...]
    outputs: int

    @classmethod
    def of(cls, layers: tuple[int, ...], task: Task) -> Shape:
        sizes = [0] * len(task.names)
        for block in blocks_of(task).values():
            for place in block.places:
                sizes[place] = block.categories or 0
        return cls(
            numbers=tuple(place for place, size in enumerate(sizes) if not size),
            categories=tuple((place, size) for place, size in enumerate(sizes) if size),
            layers=layers,
            outputs=task.outputs,
        )

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Of each embedding: half as many as there are categories, at most 50."""
        return tuple(min(_MOST_DIMENSIONS, (size + 1) // 2) for _, size in self.categories)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the weights, as `carrara model parameters` shows them."""
        embeddings = [f"embedding {number}" for number in range(1, len(self.categories) + 1)]
        dense = [f"dense {number}" for number in range(1, len(self.layers) + 2)]
        return (*embeddings, *(name for one in dense for name in (one, f"{one} offsets")))

    @property
    def width(self) -> int:
        """Of what the first layer takes."""
        return len(self.numbers) + sum(self.dimensions)

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """What each dense layer takes and gives."""
        whole = (self.width, *self.layers, self.outputs)
        return tuple(pairwise(whole))
