"""Texts as sequences of words, for nets of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.training.analyzers.base import Analyzer
from carrara.training.analyzers.texts import Grams
from carrara.training.transforms.base import EVERY, chosen, spec_of
from carrara.training.transforms.graph import ML_DOMAIN, Column, Graph
from carrara.training.transforms.texts import lowered


@dataclass(frozen=True)
class Tokens:
    """The first `length` words of a text as places among the `most` frequent ones of the training rows, A to Z in lower
    case: 0 where the text has ended, 1, 2, … from the most frequent on, and the last place for all others. What is in
    fewer than `least` rows is another."""

    columns: str | tuple[str, ...] = EVERY
    length: int = 64
    most: int = 10_000
    least: int = 2

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return dict.fromkeys(chosen(self, self.columns, columns, texts=True), Grams(1))

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=True).items():
            words = known[name].frequent(self.most, self.least)
            if not words:
                raise TrainingError(f"no word is in {self.least} training rows of '{name}'")
            tensor = self._nodes(column, graph, words)
            names = tuple(f"{name}[{number}]" for number in range(self.length))
            made[name] = replace(column, tensor=tensor, names=names, categories=len(words) + 2, is_text=False)
            learned[name] = words
        return made, learned

    def _nodes(self, column: Column, graph: Graph, words: list[str]) -> str:
        split = graph.add("StringSplit", lowered(column, graph), outputs=2)
        places = graph.add(
            "LabelEncoder",
            split,
            domain=ML_DOMAIN,
            keys_strings=["", *words],
            values_floats=[float(number) for number in range(len(words) + 1)],
            default_float=float(len(words) + 1),
        )
        # As many zeros behind each text as it may have words: short ones are filled up, and long ones cut.
        rows = graph.add("Shape", column.tensor)
        width = graph.add("Concat", rows, graph.constant([self.length], np.int64), axis=0)
        filled = graph.add("Concat", places, graph.add("Expand", graph.constant([[0.0]]), width), axis=1)
        bounds = (graph.constant([number], np.int64) for number in (0, self.length, 1))
        return graph.add("Slice", filled, *bounds)
