"""Endpoints: what each serves and tries, what its servers saw of it, what happened to it, and its traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from carrara.core.clock import duration
from carrara.core.drawings import curves
from carrara.core.errors import NotFoundError
from carrara.metadata.deployments import current_deployments, deployments_at, previous
from carrara.metadata.endpoint_events import list_events
from carrara.serving.traffic_over_time import Traffic
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

_SECONDS = 2.0
_MOST_EVENTS = 40
SINCE = ("1h", "6h", "1d", "7d")


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
    since = asked.get("since") if asked.get("since") in SINCE else "1d"
    traffic = desk.kept(
        ("traffic", name, since), _SECONDS, lambda: desk.workspace.endpoints.traffic(name, since=str(since))
    )
    data = {
        "name": name,
        "model": model,
        "served": [vars(one) for one in desk.workspace.endpoints.show(name)],
        "tried": [one.address for one in tried],
        "back_to": before.address if before is not None else None,
        "events": [vars(event) for event in reversed(list_events(metadata, name, limit=_MOST_EVENTS))],
        "history": [vars(one) for one in history],
        "since": since,
        "traffic": [one.as_dict() for one in traffic],
    }
    return Page("endpoint.html.j2", name, data, _drawn(name, traffic, asked.at, duration(str(since))), live=True)


def _drawn(endpoint: str, traffic: Sequence[Traffic], now: datetime, since: timedelta) -> dict[str, Any]:
    """Requests, latency and failures over time, a line for each version and arm."""

    ends = (now - since, now)

    def drawn(value: Callable[[Traffic], float | None], said: str) -> Any:
        lines: dict[str, list[tuple[datetime, float | None]]] = {}
        for one in traffic:
            lines.setdefault(f"{one.version} {one.arm}", []).append((one.start, value(one)))
        return curves(lines, width=420, height=150, from_zero=True, ends=ends, said=f"{said} of {endpoint} over time")

    totals = Counter[tuple[str, str]]()
    for one in traffic:
        totals[one.version, one.arm] += one.requests
    wrong = any(one.failed or one.refused for one in traffic)
    return {
        "requests_drawn": drawn(lambda one: one.requests, "Requests"),
        "latency_drawn": drawn(lambda one: one.p95_ms, "Latency"),
        "failures_drawn": drawn(lambda one: one.failed + one.refused, "Failed and refused requests") if wrong else None,
        "totals": [(version, arm, count) for (version, arm), count in totals.items()],
        "sinces": SINCE,
    }
