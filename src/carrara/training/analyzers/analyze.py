"""Analyses columns of a growing graph over all training rows: span by span, each once while it stays what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from carrara.core.digests import digest_data
from carrara.training.analyzers.base import Analyzer, State
from carrara.training.analyzers.spans import Spans
from carrara.training.trainers.base import MOST_IN_MEMORY, Array
from carrara.training.transforms.graph import Column, Graph

Tensors = dict[str, Array]


@dataclass
class Analysis:
    """Finds states of columns over the rows of `spans`; `tensors_of` makes the graph's inputs of a batch, which is at a
    place of the part, and `about` is what else than the rows these depend on.

    The inputs of a part that is no larger than a matrix in memory are held, for what is asked next.
    """

    spans: Spans
    graph: Graph
    tensors_of: Callable[[pl.DataFrame, int], Tensors]
    widths: Mapping[str, int | None]
    about: Any
    _held: dict[int, list[Tensors]] = field(default_factory=dict)

    def states(self, asked: Mapping[str, Analyzer], columns: Mapping[str, Column]) -> dict[str, Any]:
        """The state of each column that is asked for."""
        if not asked:
            return {}
        tensors = {name: (columns[name].filled or (columns[name].tensor,))[0] for name in asked}
        request = digest_data(
            [self.about, [[asked[name].spec(), self.graph.digest(tensor)] for name, tensor in tensors.items()]]
        )
        whole: dict[str, State] = {}
        lacking = []
        for number in range(self.spans.count):
            kept = self.spans.read_state(number, request)
            if kept is None:
                lacking.append(number)
            else:
                _merge(whole, {name: asked[name].read(data) for name, data in zip(asked, kept, strict=True)})
        for number, states in self._found(lacking, asked, tensors, columns):
            self.spans.keep_state(number, request, [states[name].as_dict() for name in asked])
            _merge(whole, states)
        for name, state in whole.items():
            if (filled := columns[name].filled) is not None:
                state.filled(filled[1])
        return whole

    def _found(
        self,
        numbers: Sequence[int],
        asked: Mapping[str, Analyzer],
        tensors: Mapping[str, str],
        columns: Mapping[str, Column],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """The states of spans that have to be read."""
        if not numbers:
            return
        run = self.graph.runner(list(tensors.values()), self.widths)
        current, states = numbers[0], dict.fromkeys(asked)
        for number, given in self._batches(numbers):
            if number != current:
                yield current, states
                current, states = number, dict.fromkeys(asked)
            _merge(states, _analyzed(asked, tensors, columns, run(given)))
        yield current, states

    def _batches(self, numbers: Sequence[int]) -> Iterator[tuple[int, Tensors]]:
        if self.spans.rows.height * len(self.spans.columns) > MOST_IN_MEMORY:
            yield from self._read(numbers)
            return
        for number, given in self._read([number for number in numbers if number not in self._held]):
            self._held.setdefault(number, []).append(given)
        yield from ((number, given) for number in numbers for given in self._held[number])

    def _read(self, numbers: Sequence[int]) -> Iterator[tuple[int, Tensors]]:
        for number, place, batch in self.spans.batches(numbers):
            yield number, self.tensors_of(batch, place)


def _merge(whole: dict[str, Any], states: Mapping[str, Any]) -> None:
    for name, state in states.items():
        if whole.get(name) is None:
            whole[name] = state
        else:
            whole[name].merge(state)


def _analyzed(
    asked: Mapping[str, Analyzer], tensors: Mapping[str, str], columns: Mapping[str, Column], found: Tensors
) -> dict[str, Any]:
    """The states of a batch: columns of which the same is asked as one block."""
    states: dict[str, Any] = {}
    blocks: dict[Analyzer, list[str]] = {}
    for name, analyzer in asked.items():
        if columns[name].is_text:
            (states[name],) = analyzer.analyze(found[tensors[name]])
        elif len(columns[name].names) > 1:
            # The numbers of an array are of one kind, and have one state.
            (states[name],) = analyzer.analyze(found[tensors[name]].reshape(-1, 1))
        else:
            blocks.setdefault(analyzer, []).append(name)
    for analyzer, names in blocks.items():
        block = np.concatenate([found[tensors[name]] for name in names], axis=1)
        states |= zip(names, analyzer.analyze(block), strict=True)
    return states
