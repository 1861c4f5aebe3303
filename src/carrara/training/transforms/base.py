"""The protocol of a transform.

To add one: a frozen dataclass with these members, beside those of its kind, and a case in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from carrara.core.errors import NotFoundError, TrainingError
from carrara.training.analyzers.base import Analyzer
from carrara.training.transforms.graph import Column, Graph

EVERY = "*"
"""Stands for every column that the transform can take, except the blocks that another one has made, as OneHot does."""


class Transform(Protocol):
    """Fitted on the training rows of some columns."""

    def spec(self) -> dict[str, Any]:
        """What was declared, as plain data."""

    def asks(self, columns: Mapping[str, Column]) -> dict[str, Analyzer]:
        """What it has to know of which columns of the training rows."""

    def fit(
        self, columns: Mapping[str, Column], graph: Graph, known: Mapping[str, Any]
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        """The columns that are new or changed, with their nodes in the graph, and what was learned, as plain data;
        `known` are the states that it asked for."""


def spec_of(transform: Any) -> dict[str, Any]:
    return {"transform": type(transform).__name__, **asdict(transform)}


def chosen(
    transform: Any, named: str | tuple[str, ...], columns: Mapping[str, Column], *, texts: bool
) -> dict[str, Column]:
    """The columns that a transform names, all texts or all numbers; `"*"` leaves the others alone.

    Raises NotFoundError for one that is not there, TrainingError for one of the other kind.
    """
    if named == EVERY:
        taken = {name: column for name, column in columns.items() if column.is_text == texts and not column.categories}
        return {name: column for name, column in taken.items() if len(column.names) == 1}
    found = {}
    for name in (named,) if isinstance(named, str) else named:
        if name not in columns:
            raise NotFoundError("feature", name, columns, where=f"the transform {type(transform).__name__}")
        if columns[name].is_text != texts:
            kind = "text" if columns[name].is_text else "number"
            raise TrainingError(
                f"{type(transform).__name__} takes {'texts' if texts else 'numbers'}, and '{name}' is a {kind}",
                hint="OneHot and Vocabulary make numbers of texts.",
            )
        found[name] = columns[name]
    return found
