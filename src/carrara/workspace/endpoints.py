"""`ws.endpoints`: what is served, what is tried beside it, what was observed, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from carrara.core.clock import duration
from carrara.core.figures import share as per_cent
from carrara.core.html import html_table
from carrara.metadata.deployments import Deployment, current_deployments, end_endpoint, history
from carrara.metadata.endpoint_events import EndpointEvent, list_events
from carrara.serving.traffic_over_time import PARTS, Traffic, traffic_over_time

if TYPE_CHECKING:
    from carrara.monitoring.divergence import Divergence
    from carrara.serving.observed import Seen
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class ServedVersion:
    """A version of an endpoint, its part of the traffic, and what all servers saw of it.

    `p95_ms` is of runs; `agreed` is the share of a shadow's rows that are the primary's, `difference_p95` how far apart
    the others are.
    """

    version: str
    role: str
    share: float
    until: str | None
    requests: int
    failed: int
    refused: int
    not_finite: int
    p95_ms: float | None
    agreed: float | None
    difference_p95: float | None

    @classmethod
    def of(cls, one: Deployment, share: float, seen: Seen) -> ServedVersion:
        from carrara.serving.judgement import SLOW
        from carrara.serving.observed import quantile

        slow = quantile(seen.latency, SLOW)
        return cls(
            version=one.address,
            role=one.role,
            share=share,
            until=one.until.isoformat() if one.until is not None else None,
            requests=seen.requests,
            failed=seen.failed,
            refused=seen.refused,
            not_finite=seen.not_finite,
            p95_ms=None if slow is None else slow * 1e3,
            agreed=seen.agreed / seen.compared if seen.compared else None,
            difference_p95=quantile(seen.differences, SLOW),
        )


class ServedVersions(tuple[ServedVersion, ...]):
    """The versions of an endpoint, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (
                one.version,
                one.role,
                per_cent(one.share),
                one.requests,
                one.failed,
                one.refused,
                one.p95_ms,
                per_cent(one.agreed),
            )
            for one in self
        ]
        head = ["version", "role", "traffic", "requests", "failed", "refused", "p95, ms", "agrees"]
        return html_table(" · ".join(one.version for one in self), head, rows)


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of a workspace."""

    workspace: Workspace

    def list(self) -> Sequence[Deployment]:
        """What every endpoint serves now, and what is tried on it; the primary of each first."""
        return current_deployments(self.workspace.stores.metadata)

    def show(self, endpoint: str) -> ServedVersions:
        """The versions of an endpoint as its servers saw them, a minute ago or, of what is tried, 2 s ago."""

        from carrara.serving.observed import Seen
        from carrara.serving.rollouts import totals

        stores = self.workspace.stores
        seen = totals(stores, endpoint)
        served = current_deployments(stores.metadata, endpoint)
        tried = sum(one.share for one in served if one.role in ("canary", "split"))
        return ServedVersions(
            ServedVersion.of(
                one, 1 - tried if one.role == "primary" else one.share, seen.get((one.model, one.version), Seen())
            )
            for one in served
        )

    def traffic(self, endpoint: str, *, since: timedelta | str = "1d", parts: int = PARTS) -> Sequence[Traffic]:
        """Requests, failures and latency by version and arm over the time since then, in so many stretches."""

        length = duration(since) if isinstance(since, str) else since
        return traffic_over_time(self.workspace.stores, endpoint, length, parts)

    def history(self, endpoint: str) -> Sequence[EndpointEvent]:
        """What happened to an endpoint, and why, the oldest first."""
        metadata = self.workspace.stores.metadata
        history(metadata, endpoint)
        return list_events(metadata, endpoint)

    def deploy(self, address: str, to: str | None = None, *, force: bool = False, watch: bool = True) -> Deployment:
        """Make an endpoint serve a version and nothing else, as `ws.deploy` does."""
        return self.workspace.deploy(address, to, force=force, watch=watch)

    def canary(
        self, address: str, to: str | None = None, *, share: float, lasts: timedelta | str, by: Sequence[str] = ()
    ) -> Deployment:
        """Give a version a `share` of the traffic (0.1), judged for `lasts` ("30m"): promoted or rolled back then."""

        from carrara.pipelines.deploy import deploy_canary

        length = duration(lasts) if isinstance(lasts, str) else lasts
        return deploy_canary(self.workspace.stores, address, to, share=share, lasts=length, by=by)

    def shadow(self, address: str, to: str | None = None) -> Deployment:
        """Ask a version what the endpoint is asked; its answers are compared and nobody sees them."""

        from carrara.pipelines.deploy import deploy_shadow

        return deploy_shadow(self.workspace.stores, address, to)

    def split(
        self, model: str, shares: Mapping[str, float], to: str | None = None, *, by: Sequence[str] = ()
    ) -> Sequence[Deployment]:
        """Share the traffic between versions, by number or alias: {"3": 50, "4": 50}; sticky by the inputs `by`."""

        from carrara.pipelines.deploy import deploy_split

        return deploy_split(self.workspace.stores, model, shares, to, by=by)

    def roll_back(self, endpoint: str, reason: str = "") -> Deployment:
        """End what is tried, else go back to the primary before; returns what serves then."""

        from carrara.pipelines.deploy import roll_back

        return roll_back(self.workspace.stores, endpoint, reason)

    def end(self, endpoint: str) -> None:
        """Serve nothing under this name any more."""
        end_endpoint(self.workspace.stores.metadata, endpoint)

    def replay(self, address: str, *, since: timedelta | str, endpoint: str = "") -> Divergence:
        """What a version would have answered to what was asked since then ("7d"), against what was answered and what
        then happened."""

        from carrara.monitoring.replay import replay

        length = duration(since) if isinstance(since, str) else since
        return replay(self.workspace.stores, self.workspace.models.get(address), since=length, endpoint=endpoint)

    def divergence(self, endpoint: str, *, since: timedelta | str = "7d") -> Sequence[Divergence]:
        """How far the answers of each shadow of an endpoint are from those that were given."""

        from carrara.monitoring.replay import shadowed

        length = duration(since) if isinstance(since, str) else since
        stores = self.workspace.stores
        history(stores.metadata, endpoint)
        shadows = [one for one in current_deployments(stores.metadata, endpoint) if one.role == "shadow"]
        return [shadowed(stores, self.workspace.models.get(one.address), since=length) for one in shadows]
