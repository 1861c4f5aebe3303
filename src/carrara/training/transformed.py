"""What transforms have made of the features: the statistics of the matrix's columns, beside those of the features."""

from __future__ import annotations

from typing import Any

import polars as pl

from carrara.data.column_statistics import column_statistics
from carrara.training.inputs import Inputs
from carrara.training.trainers.base import Array

_ROWS = 50_000
_COLUMNS = 200
"""Of more, such as those of n-grams, the first."""


def transformed(inputs: Inputs, matrix: Array) -> list[dict[str, Any]]:
    """Each column of a matrix that transforms have made: its name, the features that it is made of, and the statistics
    of every n-th row; nothing where the matrix is the features as they are."""
    if inputs.graph is None:
        return []
    few = matrix[:: 1 + len(matrix) // _ROWS, :_COLUMNS]
    names = inputs.names[:_COLUMNS]
    columns = pl.DataFrame({name: few[:, place] for place, name in enumerate(names)}).fill_nan(None)
    found = column_statistics(columns)
    return [{"name": name, "sources": list(inputs.sources[name]), "statistics": found[name]} for name in names]
