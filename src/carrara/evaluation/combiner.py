"""Combiners: metrics of your own whose rows are added a batch at a time, anywhere, and whose parts are merged.

A combiner is a class with four methods, as in Beam's `CombineFn`; its state is whatever `create` gives. A state that
has seen some rows, merged with one that has seen others, must be as one that has seen all: then it does not matter how
many rows there are, or on how many machines they lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from types import FunctionType
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from carrara.core.digests import digest_data, digest_function
from carrara.core.errors import DefinitionError
from carrara.evaluation.weighing import Floats

BATCH_ROWS = 100_000


class Combiner(Protocol):
    """What a metric of your own is when it is a class; `State` is any value."""

    def create(self) -> Any:
        """A state that has seen no rows."""

    def add(self, state: Any, labels: npt.NDArray[Any], scores: npt.NDArray[Any], weights: Floats) -> Any:
        """A state that has seen these rows too; `weights`, of shape (rows,), say how much each counts."""

    def merge(self, one: Any, other: Any) -> Any:
        """A state that has seen the rows of both."""

    def result(self, state: Any) -> float:
        """The metric of the rows that a state has seen, NaN where it is undefined."""


METHODS = ("create", "add", "merge", "result")

Batch = tuple[npt.NDArray[Any], npt.NDArray[Any], Floats]


def combined(combiner: Combiner, batches: Iterable[Batch]) -> Any:
    """The state that has seen all batches: each is added to a state of its own, and these are merged."""
    parts = (combiner.add(combiner.create(), *batch) for batch in batches)
    return reduce(combiner.merge, parts, combiner.create())


def batches_of(rows: Any, weights: Floats) -> Iterator[Batch]:
    """The rows that count, as a resample leaves some out; where none does there is no batch."""
    for start in range(0, len(rows), BATCH_ROWS):
        batch = slice(start, start + BATCH_ROWS)
        there = weights[batch] > 0
        if there.any():
            yield rows.labels[batch][there], rows.scores[batch][there], np.asarray(weights[batch][there])


def combiner_of(made: Any) -> Combiner | None:
    """The combiner that a class, or an instance of one, is; None where it is none. DefinitionError names what it lacks.

    >>> combiner_of(abs) is None
    True
    """
    if not isinstance(made, type) and callable(made):
        return None
    found = made() if isinstance(made, type) else made
    lacking = [name for name in METHODS if not callable(getattr(found, name, None))]
    if lacking:
        raise DefinitionError(
            f"the combiner '{type(found).__name__}' has no method '{lacking[0]}'",
            hint=f"A metric is a function, or a class with {', '.join(METHODS)}.",
        )
    return cast(Combiner, found)


def digest_combiner(combiner: Combiner) -> str:
    """SHA-256 of what a combiner computes: its methods, and what it was made with."""
    methods = {
        name: digest_function(value)
        for kind in reversed(type(combiner).__mro__[:-1])
        for name, value in vars(kind).items()
        if isinstance(value, FunctionType) and name in (*METHODS, *vars(type(combiner))) and not name.startswith("__")
    }
    return digest_data(["combiner", methods, {name: repr(value) for name, value in vars(combiner).items()}])
