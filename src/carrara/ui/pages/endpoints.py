"""Endpoints: what each serves and tries, what its servers saw of it, what happened to it, and its traffic."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from carrara.core.errors import NotFoundError
from carrara.metadata.deployments import current_deployments, deployments_at, previous
from carrara.metadata.endpoint_events import list_events
from carrara.monitoring.prediction_log import log_table
from carrara.ui.desk import Desk
from carrara.ui.drawings import curves
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

_SECONDS = 5.0
_PERIODS = 48
_MOST_EVENTS = 40


def index(desk: Desk, asked: Asked) -> Page:
    text = asked.get("q") or ""
    found = [one for one in current_deployments(desk.workspace.stores.metadata) if text in one.endpoint]
    shown = [vars(one) for one in found[asked.offset : asked.offset + PAGE_ROWS]]
    return Page("endpoints.html.j2", "Endpoints", {"endpoints": shown, **paged(asked, len(found))}, live=True)


def show(desk: Desk, asked: Asked) -> Page:
    metadata, name = desk.workspace.stores.metadata, asked["name"]
    history = deployments_at(metadata, name, limit=PAGE_ROWS)
    if not history:
        raise NotFoundError("endpoint", name, [one.endpoint for one in current_deployments(metadata)])
    current = [one for one in history if one.ended_at is None]
    tried = [one for one in current if one.role != "primary"]
    before = previous(metadata, name)
    model = (current or history)[0].model
    traffic = desk.kept(("traffic", model), _SECONDS, lambda: _traffic(desk, model))
    totals = Counter[str]()
    for one in traffic:
        totals[str(one["version"])] += one["predictions"]
    data = {
        "name": name,
        "model": model,
        "served": [vars(one) for one in desk.workspace.endpoints.show(name)],
        "tried": [one.address for one in tried],
        "back_to": before.address if before is not None else None,
        "events": [vars(event) for event in reversed(list_events(metadata, name, limit=_MOST_EVENTS))],
        "history": [vars(one) for one in history],
        "traffic": traffic,
        "totals": dict(totals),
    }
    lines: dict[str, list[tuple[datetime, float | None]]] = {}
    for one in traffic:
        lines.setdefault(f"version {one['version']}", []).append((one["from"], float(one["predictions"])))
    drawn = curves(lines, from_zero=True, said=f"Predictions of {model} by time")
    return Page("endpoint.html.j2", name, data, {"curves_drawn": drawn}, live=True)


def _traffic(desk: Desk, model: str) -> list[dict[str, Any]]:
    """How many predictions were logged in each stretch of the log's time, by version."""
    lake = desk.workspace.stores.lake
    if not lake.exists(log_table(model)):
        return []
    rows = lake.scan(log_table(model)).select("event_time", "version")
    low, high = rows.select(low=pl.col("event_time").min(), high=pl.col("event_time").max()).collect().row(0)
    if low is None:
        return []
    step = max((high - low) / _PERIODS, timedelta(microseconds=1))
    place = ((pl.col("event_time") - low) / step).cast(pl.Int32).clip(0, _PERIODS - 1)
    counted = rows.group_by(place.alias("place"), "version").agg(predictions=pl.len()).sort("version", "place")
    there = {(one["place"], one["version"]): one["predictions"] for one in counted.collect().to_dicts()}
    versions = sorted({version for _, version in there})
    return [
        {"from": low + step * place, "version": version, "predictions": there.get((place, version), 0)}
        for version in versions
        for place in range(_PERIODS)
    ]
