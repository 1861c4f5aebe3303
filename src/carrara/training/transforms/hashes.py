"""Values as buckets of their hash: for identifiers of which there are more than a vocabulary could hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.errors import DefinitionError
from carrara.training.analyzers.base import Analyzer
from carrara.training.transforms.base import chosen, spec_of
from carrara.training.transforms.graph import ORT_DOMAIN, Column, Graph

_INT64, _FLOAT = 7, 1


@dataclass(frozen=True)
class Hash:
    """The place of a text's, or a whole number's, bucket: 1 + MurmurHash3 (32 bits, x86) of its UTF-8 bytes, or of its
    eight bytes, by the `seed`, modulo `buckets`; 0 where it is missing, or the empty text. Nets embed it.

    Nothing is learned, and values that were never seen have a bucket too, which they share with others. Numbers are
    float32 in a model: whole ones above 16,777,216 are better texts.
    """

    columns: str | tuple[str, ...]
    buckets: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.buckets < 2:
            raise DefinitionError(f"Hash(buckets={self.buckets}) makes no difference between values")
        if not 0 <= self.seed < 2**31:
            raise DefinitionError(f"Hash(seed={self.seed}) takes a whole number from 0 to 2,147,483,647")

    def spec(self) -> dict[str, Any]:
        return spec_of(self)

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        return {}

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        made = {}
        for name in (self.columns,) if isinstance(self.columns, str) else self.columns:
            is_text = name in columns and columns[name].is_text
            column = chosen(self, name, columns, texts=is_text)[name]
            tensor = graph.add("Cast", self._places(column, graph), to=_FLOAT)
            if is_text:
                tensor = graph.add("Unsqueeze", tensor, graph.constant([1], np.int64))
            made[name] = replace(column, tensor=tensor, categories=self.buckets + 1, is_text=False, filled=None)
        return made, {}

    def _places(self, column: Column, graph: Graph) -> str:
        if column.is_text:
            values = column.tensor
            missing = graph.add("Equal", values, graph.constant(np.full((), "", dtype=object), object))
        else:
            missing = graph.add("IsNaN", column.tensor)
            # Of NaN a whole number is another one on every machine.
            known = graph.add("Where", missing, graph.constant(0.0), column.tensor)
            values = graph.add("Cast", known, to=_INT64)
        # ONNX itself has no hash; its runtime has this one.
        found = graph.add("MurmurHash3", values, domain=ORT_DOMAIN, positive=1, seed=self.seed)
        wide = graph.add("Cast", found, to=_INT64)
        place = graph.add("Mod", wide, graph.constant(self.buckets, np.int64))
        shifted = graph.add("Add", place, graph.constant(1, np.int64))
        return graph.add("Where", missing, graph.constant(0, np.int64), shifted)
