"""Transforms of texts and categories. A missing text is the empty one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.training.analyzers.base import Analyzer
from carrara.training.analyzers.texts import Grams, Texts
from carrara.training.transforms.base import EVERY, chosen, spec_of
from carrara.training.transforms.graph import ML_DOMAIN, Column, Graph


@dataclass(frozen=True)
class Vocabulary:
    """The place of a text among the `most` frequent ones of the training rows: 0 for a missing text, 1, 2, … from the
    most frequent on, and the last place for all others. What is in fewer than `least` rows is another."""

    columns: str | tuple[str, ...] = EVERY
    most: int = 1_000
    least: int = 1

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return dict.fromkeys(chosen(self, self.columns, columns, texts=True), Texts())

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=True).items():
            words = known[name].frequent(self.most, self.least)
            made[name], learned[name] = _place(column, graph, words), words
        return made, learned


@dataclass(frozen=True)
class OneHot:
    """A column of 0 and 1 for each of the `most` frequent texts, and one for all others; or for each category of a
    column of places. A missing text has 0 in all."""

    columns: str | tuple[str, ...] = EVERY
    most: int = 100
    least: int = 1

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return dict.fromkeys(self._chosen(columns)[1], Texts())

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made: dict[str, Column] = {}
        learned: dict[str, Any] = {}
        places, texts = self._chosen(columns)
        for name, column in texts.items():
            words = known[name].frequent(self.most, self.least)
            place = _place(column, graph, words)
            labels = [*words, "(other)"]
            made[name] = _spread(place, graph, range(1, len(words) + 2), tuple(f"{name}={label}" for label in labels))
            learned[name] = labels
        for name, column in places.items():
            numbers = range(column.categories or 0)
            made[name] = _spread(column, graph, numbers, tuple(f"{name}={number}" for number in numbers))
            learned[name] = list(numbers)
        return made, learned

    def _chosen(self, columns: Mapping[str, Column]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Columns of places, and texts."""
        if self.columns == EVERY:
            return {}, chosen(self, EVERY, columns, texts=True)
        named = (self.columns,) if isinstance(self.columns, str) else self.columns
        places = {name: columns[name] for name in named if name in columns and columns[name].categories}
        return places, chosen(self, tuple(name for name in named if name not in places), columns, texts=True)


@dataclass(frozen=True)
class Cross:
    """A new column, `a × b`, of the pairs of two columns: texts make a text, places make a place."""

    columns: tuple[str, str]

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return {}

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        one, other = (_of(self, name, columns) for name in self.columns)
        name = " × ".join(self.columns)
        sources = tuple(dict.fromkeys((*one.sources, *other.sources)))
        if one.is_text and other.is_text:
            pair = graph.add("StringConcat", graph.add("StringConcat", one.tensor, _text(graph, " × ")), other.tensor)
            return {name: Column(pair, (name,), sources, is_text=True)}, {}
        if not (one.categories and other.categories):
            raise TrainingError(
                f"Cross takes two texts, or two columns of places, and not {self.columns[0]} and {self.columns[1]}",
                hint="Bucketise makes places of numbers, Vocabulary of texts.",
            )
        tensor = graph.add("Add", graph.add("Mul", one.tensor, graph.constant(other.categories)), other.tensor)
        return {name: Column(tensor, (name,), sources, one.categories * other.categories)}, {}


@dataclass(frozen=True)
class NGrams:
    """How often each of the `most` frequent n-grams of words, 1 to `words` long, is in a text, A to Z in lower case."""

    columns: str | tuple[str, ...] = EVERY
    words: int = 1
    most: int = 1_000
    least: int = 2

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return dict.fromkeys(chosen(self, self.columns, columns, texts=True), Grams(self.words))

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made, learned = {}, {}
        for name, column in chosen(self, self.columns, columns, texts=True).items():
            # By length, then frequency: the order that the operator asks for.
            frequent = known[name].frequent(self.most, self.least)
            grams = sorted((tuple(gram.split(" ")) for gram in frequent), key=len)
            if not grams:
                raise TrainingError(f"no n-gram is in {self.least} training rows of '{name}'")
            tensor = self._nodes(column, graph, grams)
            names = tuple(f"{name}: {' '.join(gram)}" for gram in grams)
            made[name] = replace(column, tensor=tensor, names=names, is_text=False)
            learned[name] = [" ".join(gram) for gram in grams]
        return made, learned

    def _nodes(self, column: Column, graph: Graph, grams: list[tuple[str, ...]]) -> str:
        lower = lowered(column, graph)
        words = graph.add("StringSplit", lower, outputs=2)
        # A first column of empty words: where every text is empty there would be none at all.
        shape = graph.add("Concat", graph.add("Shape", lower), graph.constant([1], np.int64), axis=0)
        blank = graph.add("Expand", _text(graph, "", shape=(1, 1)), shape)
        padded = graph.add("Concat", words, blank, axis=1)
        lengths = [len(gram) for gram in grams]
        starts = [sum(length * lengths.count(length) for length in range(1, n)) for n in range(1, self.words + 1)]
        return graph.add(
            "TfIdfVectorizer",
            padded,
            mode="TF",
            min_gram_length=1,
            max_gram_length=self.words,
            max_skip_count=0,
            ngram_counts=starts,
            ngram_indexes=list(range(len(grams))),
            pool_strings=[word for gram in grams for word in gram],
        )


def lowered(column: Column, graph: Graph) -> str:
    """The tensor of a text's A to Z in lower case."""
    # By the one locale that every machine has; others know more letters, where they are installed.
    return graph.add("StringNormalizer", column.tensor, case_change_action="LOWER", locale="C")


def _place(column: Column, graph: Graph, words: list[str]) -> Column:
    """Places among words: 0 for the empty text, the last for others."""
    place = graph.add(
        "LabelEncoder",
        column.tensor,
        domain=ML_DOMAIN,
        keys_strings=["", *words],
        values_floats=[float(number) for number in range(len(words) + 1)],
        default_float=float(len(words) + 1),
    )
    tensor = graph.add("Unsqueeze", place, graph.constant([1], np.int64))
    return replace(column, tensor=tensor, categories=len(words) + 2, is_text=False)


def _spread(column: Column, graph: Graph, numbers: range, names: tuple[str, ...]) -> Column:
    same = graph.add("Equal", column.tensor, graph.constant([list(numbers)]))
    tensor = graph.add("Cast", same, to=1)
    return replace(column, tensor=tensor, names=names, categories=None)


def _of(transform: Any, name: str, columns: Mapping[str, Column]) -> Column:
    found = columns.get(name)
    return found if found is not None else chosen(transform, name, columns, texts=False)[name]


def _text(graph: Graph, text: str, shape: tuple[int, ...] = ()) -> str:
    return graph.constant(np.full(shape, text, dtype=object), object)
