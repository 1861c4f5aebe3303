"""Deploy: which version an endpoint serves from now on."""

from __future__ import annotations

from carrara.core.errors import CheckFailed
from carrara.metadata import deployments
from carrara.metadata.deployments import Deployment
from carrara.models.registry import read_record, resolve
from carrara.storage import Stores


def deploy(stores: Stores, address: str, endpoint: str | None = None) -> Deployment:
    """Make `endpoint` (by default the model's name) serve the version that `address` stands for.

    The first version that an endpoint serves of a model becomes its champion, and so does every later one.
    Raises CheckFailed, with the reasons, for a version whose gates failed.
    """
    version = resolve(stores, address)
    if not version.gates_passed:
        results = read_record(stores, version)["gates"]["results"]
        reasons = [result["message"] for result in results if not result["passed"]]
        raise CheckFailed(f"{version} is blocked: its gates failed", reasons, hint=f"carrara model report {version}")
    made = deployments.deploy(stores.metadata, endpoint or version.model, version.model, version.version)
    if deployments.current_aliases(stores.metadata, version.model).get("champion") != version.version:
        deployments.move_alias(stores.metadata, version.model, "champion", version.version)
    return made
