"""How an endpoint did over time, of what its servers wrote down: requests, failures and latency by version and arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from carrara.metadata.deployments import Deployment, history
from carrara.metadata.observations import list_observations
from carrara.serving.observed import Seen, quantile
from carrara.storage.stores import Stores

PARTS = 48
"""Into how many stretches a time is divided."""


@dataclass(frozen=True)
class Traffic:
    """A stretch of time of one version in one role (primary, canary, split, shadow); latencies in milliseconds."""

    start: datetime
    end: datetime
    version: str
    arm: str
    requests: int
    failed: int
    refused: int
    p50_ms: float | None
    p95_ms: float | None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "start": self.start.isoformat(), "end": self.end.isoformat()}


def traffic_over_time(stores: Stores, endpoint: str, since: timedelta, parts: int = PARTS) -> list[Traffic]:
    """What each version answered in each of `parts` stretches up to now, by its role then; the oldest first.

    Servers write down what they saw once a minute, or every two seconds while something is tried, and it is kept for a
    week. A stretch in which a version was there and nobody asked has no requests.
    """
    now = stores.clock()
    begin, step = now - since, since / parts
    deployed = history(stores.metadata, endpoint)
    seen: dict[tuple[str, str], dict[int, Seen]] = {}
    for row in list_observations(stores.metadata, endpoint, begin):
        place = min(int((row.at - begin) / step), parts - 1)
        arm = _role_at(deployed, row.model, row.version, row.at)
        stretch = seen.setdefault((f"{row.model}@{row.version}", arm), {}).setdefault(place, Seen())
        stretch.add(Seen.from_dict(row.seen))
    return [
        _traffic(begin + step * place, begin + step * (place + 1), version, arm, places.get(place, Seen()))
        for (version, arm), places in sorted(seen.items())
        for place in range(min(places), max(places) + 1)
    ]


def _traffic(start: datetime, end: datetime, version: str, arm: str, seen: Seen) -> Traffic:
    p50, p95 = (quantile(seen.latency, share) for share in (0.5, 0.95))
    return Traffic(
        start,
        end,
        version,
        arm,
        seen.requests,
        seen.failed,
        seen.refused,
        None if p50 is None else p50 * 1e3,
        None if p95 is None else p95 * 1e3,
    )


def _role_at(deployed: Sequence[Deployment], model: str, version: int, at: datetime) -> str:
    """As what a version was deployed at a moment; what was written down just after its end is still of it."""
    of_version = [one for one in deployed if (one.model, one.version) == (model, version)]
    there = [one for one in of_version if one.started_at <= at]
    return max(there or of_version, key=lambda one: one.started_at).role if of_version else ""
