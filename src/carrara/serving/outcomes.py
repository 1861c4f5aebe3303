"""Outcomes that a server is told."""

from __future__ import annotations

from typing import Any

from carrara.core.errors import RequestError
from carrara.models.registry import champion, resolve
from carrara.storage.stores import Stores


def take_outcomes(stores: Stores, model: str, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Keep outcomes of a model, by the keys and the label of its champion or newest version; what became of them."""
    # A server starts without the metrics that this brings.
    import polars as pl
    from polars.exceptions import PolarsError

    from carrara.monitoring.outcomes import add_outcomes

    version = champion(stores, model) or resolve(stores, model)
    try:
        frame = pl.DataFrame(rows, infer_schema_length=None)
    except (PolarsError, TypeError) as error:
        raise RequestError(f"the outcomes are not one table: {error}", field="outcomes") from error
    return add_outcomes(stores, version, frame, where="the request").as_dict()
