"""The columns of a matrix as a net of one's own takes them: arrays as they were, places of categories, and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from carrara.training.trainers.base import Task

NUMBERS = "numbers"
"""The block of all columns that are neither an array nor categories."""


@dataclass(frozen=True)
class Block:
    """Columns that belong together: their places in the matrix, the shape of a row of them, and how many categories
    there are, where they are places of categories."""

    places: tuple[int, ...]
    shape: tuple[int, ...]
    categories: int | None = None


def blocks_of(task: Task) -> Mapping[str, Block]:
    """Every column of a task's matrix, in blocks by their names.

    >>> task = Task("binary", ("v:a", "v:image[0]", "v:image[1]", "v:colour"), (), {"v:colour": 5})
    >>> list(blocks_of(task))
    ['v:colour', 'numbers']
    """
    found: dict[str, Block] = {}
    for name, shape in task.shapes.items():
        first = task.names.index(f"{name}[0]")
        found[name] = Block(tuple(range(first, first + prod(shape))), shape, task.categories.get(name))
    for name, size in task.categories.items():
        if name not in found:
            found[name] = Block((task.names.index(name),), (), size)
    taken = {place for block in found.values() for place in block.places}
    if rest := tuple(place for place in range(len(task.names)) if place not in taken):
        found[NUMBERS] = Block(rest, (len(rest),))
    return found
