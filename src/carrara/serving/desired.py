"""What a workspace's deployments ask a server to serve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from carrara.metadata.deployments import Deployment
from carrara.serving.contract import Endpoint, Target
from carrara.serving.traffic import Traffic


def endpoints_of(deployed: Sequence[Deployment]) -> list[Endpoint]:
    """Each endpoint with its versions and how its traffic is shared, from deployments that are sorted by endpoint."""
    return [_endpoint(name, list(some)) for name, some in groupby(deployed, key=lambda one: one.endpoint)]


def _endpoint(name: str, served: list[Deployment]) -> Endpoint:
    targets = tuple(dict.fromkeys(Target(name, one.model, one.version) for one in served))
    primary = next((one.version for one in served if one.role == "primary"), None)
    tried = [one for one in served if one.role in ("canary", "split")]
    shadows = tuple(one.version for one in served if one.role == "shadow")
    labels: dict[str, int] = {one.role: one.version for one in served if one.role == "canary"}
    if not tried and not shadows:
        return Endpoint(name, targets, labels, primary)
    # Under one salt a key that meets a canary of 10 % meets it at 50 % too; another version draws other keys.
    salt = "/".join([name, *(one.address for one in tried)])
    by = tried[0].by if tried else ()
    traffic = Traffic(tuple((one.version, one.share) for one in tried), by, shadows, salt)
    return Endpoint(name, targets, labels, primary, traffic)
