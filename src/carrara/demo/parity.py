"""Offline equals online: logged features against the point-in-time join of the same keys and times."""

from __future__ import annotations

import numpy as np
import polars as pl

from carrara.core.errors import CheckFailed
from carrara.features import join_features, resolve_features
from carrara.models.registry import recorded_definitions
from carrara.workspace import Workspace

ROWS = 1_000
_TOLERANCE = 1e-9


def compare_with_offline(workspace: Workspace, address: str, rows: int = ROWS, seed: int = 0) -> int:
    """Compare `rows` logged predictions, drawn by `seed`, and return how many; CheckFailed names what differs."""
    version = workspace.models.get(address)
    log = workspace.predictions(version.model).filter(pl.col("version") == version.version)
    drawn = log.sample(min(rows, log.height), seed=seed)
    definitions = recorded_definitions(workspace.stores, version)
    references = definitions.of_kind("model")[version.model].features
    service = resolve_features(definitions, references, where=f"model '{version}'")
    offline = join_features(workspace.stores, service, drawn, "event_time", where="the prediction log")
    reasons = []
    for name in service.features:
        online, expected = (frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for frame in (drawn, offline))
        different = ~np.isclose(online, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
        if different.any():
            at = int(different.argmax())
            first = f"first {drawn['prediction_id'][at]}: {online[at]} online, {expected[at]} offline"
            reasons.append(f"{name}: {int(different.sum())} rows, {first}")
    if reasons:
        raise CheckFailed("online features are not those of the point-in-time join", reasons)
    return drawn.height
