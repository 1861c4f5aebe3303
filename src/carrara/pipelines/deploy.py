"""Deploy: which version an endpoint serves from now on."""

from __future__ import annotations

from carrara.core.errors import CheckFailed
from carrara.metadata import deployments
from carrara.metadata.deployments import Deployment
from carrara.models.approval import blocking
from carrara.models.registry import resolve
from carrara.storage import Stores


def deploy(stores: Stores, address: str, endpoint: str | None = None) -> Deployment:
    """Make `endpoint` (by default the model's name) serve the version that `address` stands for.

    The first version that an endpoint serves of a model becomes its champion, and so does every later one.
    Raises CheckFailed, with the reasons, for a version whose gates failed and were not overridden, or that a person
    has rejected.
    """
    version = resolve(stores, address)
    reasons = blocking(stores, version)
    if reasons:
        hint = f"carrara model report {version}; a person may let it live: carrara model override {version} --reason …"
        raise CheckFailed(f"{version} is blocked", reasons, hint=hint)
    return deployments.deploy(
        stores.metadata, endpoint or version.model, version.model, version.version, alias="champion"
    )
