"""Offline equals online: logged features against the point-in-time join of the same keys and times."""

from __future__ import annotations

import polars as pl

from carrara.core.errors import CheckFailed, DataError
from carrara.monitoring.parity import compare_rows, service_of
from carrara.workspace.workspace import Workspace

ROWS = 1_000


def compare_with_offline(workspace: Workspace, address: str, rows: int = ROWS, seed: int = 0) -> int:
    """Compare `rows` logged predictions, drawn by `seed`, and return how many; CheckFailed names what differs."""
    version = workspace.models.get(address)
    log = workspace.predictions(version.model).filter(pl.col("version") == version.version)
    found = compare_rows(workspace.stores, service_of(workspace.stores, version), log, rows=rows, seed=seed)
    if found is None:
        raise DataError(f"no prediction of {version} was made by entity keys, so there is nothing to compare")
    if found.differences:
        reasons = [str(one) for one in found.differences]
        raise CheckFailed("online features are not those of the point-in-time join", reasons)
    return found.compared
