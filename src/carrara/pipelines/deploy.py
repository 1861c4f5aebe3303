"""Deploy: which versions an endpoint serves from now on, and which are tried beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from carrara.core.errors import CarraraError, CheckFailed, NotFoundError
from carrara.metadata import deployments
from carrara.metadata.deployments import Deployment
from carrara.models.address import ModelAddress, parse_address
from carrara.models.approval import blocking
from carrara.models.registry import ModelVersion, resolve, written_record
from carrara.models.signature import ENTITIES_SIGNATURE, EVENT_TIME, PREDICTION_ID, QUERY_ID
from carrara.pipelines.evaluation_config import GATES
from carrara.serving.rollouts import WATCHED
from carrara.storage.stores import Stores


def deploy(
    stores: Stores, address: str, endpoint: str | None = None, *, force: bool = False, watch: bool = True
) -> Deployment:
    """Make `endpoint` (by default the model's name) serve the version that `address` stands for, and no other.

    The version becomes its model's champion. For an hour it is watched: where it does worse than the version before
    for certain, that one comes back. Raises CheckFailed, with the reasons, for a version whose gates failed and were
    not overridden, or that a person has rejected, or that was not held against what the workspace asks for; and
    without `force` for one that is asked by other names, or answers by other names, than what the endpoint serves. One
    of tier 1 has been a shadow there before.
    """
    version = _allowed(stores, resolve(stores, address))
    name = endpoint or version.model
    primary = _primary(stores, name)
    if primary is not None and not force:
        _require_same_signature(stores, version, primary)
    _require_shadow(stores, version, name)
    until = stores.clock() + WATCHED if watch and primary is not None else None
    return deployments.deploy(
        stores.metadata, name, version.model, version.version, alias=deployments.CHAMPION, until=until
    )


def deploy_canary(
    stores: Stores,
    address: str,
    endpoint: str | None = None,
    *,
    share: float,
    lasts: timedelta,
    by: Sequence[str] = (),
) -> Deployment:
    """Give a version a `share` of an endpoint's traffic; after `lasts` it is promoted, or before that rolled back.

    Requests are led by the inputs `by`, else by the model's entity keys. Raises as `deploy` does.
    """
    if not 0 < share < 1:
        raise CarraraError(f"a canary takes a part of the traffic, and {share:.4g} is none", hint="Write e.g. 10%.")
    if lasts <= timedelta(0):
        raise CarraraError("a canary lasts some time", hint="Write e.g. --for 30m.")
    version, name = _beside(stores, address, endpoint)
    _require_shadow(stores, version, name)
    keys = _routing_keys(stores, version, by)
    until = stores.clock() + lasts
    return deployments.add_canary(stores.metadata, name, version.version, share=share, by=keys, until=until)


def deploy_shadow(stores: Stores, address: str, endpoint: str | None = None) -> Deployment:
    """Ask a version what an endpoint is asked, and compare its answers, which nobody sees. Raises as `deploy` does."""
    version, name = _beside(stores, address, endpoint)
    return deployments.add_shadow(stores.metadata, name, version.version)


def deploy_split(
    stores: Stores,
    model: str,
    shares: Mapping[str, float],
    endpoint: str | None = None,
    *,
    by: Sequence[str] = (),
) -> list[Deployment]:
    """Share an endpoint's traffic between versions of a model, each named by its number or an alias.

    `shares` are relative: 50 and 50, or 1 and 1. Raises as `deploy` does.
    """
    if len(shares) < 2 or any(share <= 0 for share in shares.values()):
        raise CarraraError("a split has two versions or more, each with a share", hint="Write e.g. --split 3=50,4=50.")
    named = parse_address(model).model
    versions = [_allowed(stores, resolve(stores, _arm(named, text))) for text in shares]
    if len({one.version for one in versions}) < len(versions):
        raise CarraraError("a split names a version twice", hint="Two of the names stand for the same version.")
    for other in versions[1:]:
        _require_same_signature(stores, other, versions[0])
    name, total = endpoint or named, sum(shares.values())
    primary = _primary(stores, name)
    if primary is not None:
        _require_same_signature(stores, versions[0], primary)
    for one in versions:
        _require_shadow(stores, one, name)
    parts = {one.version: share / total for one, share in zip(versions, shares.values(), strict=True)}
    return deployments.split(stores.metadata, name, named, parts, by=_routing_keys(stores, versions[0], by))


def roll_back(stores: Stores, endpoint: str, reason: str = "") -> Deployment:
    """End what is tried on an endpoint, else go back to the version that was primary before; what serves then."""
    return deployments.roll_back(stores.metadata, endpoint, [reason] if reason else [])


def _beside(stores: Stores, address: str, endpoint: str | None) -> tuple[ModelVersion, str]:
    """A version that may be tried beside what an endpoint serves."""
    version = _allowed(stores, resolve(stores, address))
    name = endpoint or version.model
    primary = _primary(stores, name)
    if primary is None:
        hint = f"Deploy the version that answers first: carrara deploy {version.model}@N --to {name}"
        raise NotFoundError("endpoint", name, hint=hint)
    if primary.model != version.model:
        raise CarraraError(
            f"'{name}' serves {primary}, and {version} is a version of another model",
            hint="Versions beside each other are of one model: answers name them by their number.",
        )
    _require_same_signature(stores, version, primary)
    return version, name


def _allowed(stores: Stores, version: ModelVersion) -> ModelVersion:
    reasons = blocking(stores, version)
    if reasons:
        hint = f"carrara model report {version}; a person may let it live: carrara model override {version} --reason …"
        raise CheckFailed(f"{version} is blocked", reasons, hint=hint)
    _require_gates(stores, version)
    return version


def _require_gates(stores: Stores, version: ModelVersion) -> None:
    """Refuse a version that was not held against what the workspace asks of every one."""
    if not stores.checks.gates:
        return
    for name in stores.checks.gates:
        if name not in GATES:
            raise NotFoundError("gate", name, GATES, where="[deployments] of carrara.toml")
    held = {spec["gate"] for spec in written_record(stores, version)["configuration"]["gates"]}
    if missing := [name for name in stores.checks.gates if name not in held]:
        raise CheckFailed(
            f"{version} was not held against what this workspace asks of every version",
            [f"its definition has no gate '{name}'" for name in missing],
            hint=f"Declare gates=(carrara.{missing[0]}(…), …), and train it again.",
        )


def _primary(stores: Stores, endpoint: str) -> ModelVersion | None:
    for one in deployments.current_deployments(stores.metadata, endpoint):
        if one.role == "primary":
            return resolve(stores, ModelAddress(one.model, one.version))
    return None


def _require_shadow(stores: Stores, version: ModelVersion, endpoint: str) -> None:
    """Refuse a version of tier 1, or where the workspace asks it of every one, that would take traffic of another one
    and was not asked beside it before."""
    primary = _primary(stores, endpoint)
    tier = written_record(stores, version)["configuration"].get("tier")
    asked = tier == 1 or stores.checks.shadow
    if not asked or primary is None or (primary.model, primary.version) == (version.model, version.version):
        return
    before = deployments.deployments_of(stores.metadata, version.model, version.version)
    if not any(one.endpoint == endpoint and one.role in ("shadow", "primary") for one in before):
        raise CheckFailed(
            f"{version} {'is of tier 1, and ' if tier == 1 else ''}has not been a shadow on '{endpoint}'",
            ["nobody has seen what it answers to what is asked there"],
            hint=f"carrara deploy {version} --to {endpoint} --shadow",
        )


def _require_same_signature(stores: Stores, version: ModelVersion, other: ModelVersion) -> None:
    """Refuse a version that clients of the other could not ask, or that answers by other names."""
    ours, theirs = (_asked(stores, one) for one in (version, other))
    differences = [
        *(f"it has no {side[:-1]} '{name}' ({dtype})" for side, name, dtype in sorted(theirs - ours)),
        *(f"its {side[:-1]} '{name}' ({dtype}) is new" for side, name, dtype in sorted(ours - theirs)),
    ]
    if differences:
        raise CheckFailed(
            f"{version} has another signature than {other}",
            differences,
            hint="Its clients would fail. Serve it under another name, or deploy it with --force.",
        )


def _asked(stores: Stores, version: ModelVersion) -> set[tuple[str, str, str]]:
    """What clients give and get by entity keys; features are read by each version itself."""
    signature = written_record(stores, version)["signature"][ENTITIES_SIGNATURE]
    return {(side, one["name"], one["dtype"]) for side in ("inputs", "outputs") for one in signature[side]}


def _routing_keys(stores: Stores, version: ModelVersion, by: Sequence[str]) -> list[str]:
    """The inputs that lead a request: those named, else the entity keys."""
    signature = written_record(stores, version)["signature"][ENTITIES_SIGNATURE]["inputs"]
    known = {one["name"]: one["dtype"] for one in signature if one["name"] not in (QUERY_ID, EVENT_TIME, PREDICTION_ID)}
    for name in by:
        if name not in known:
            raise NotFoundError("input", name, known, where=str(version))
    return list(by) or [name for name, dtype in known.items() if dtype == "string"]


def _arm(model: str, text: str) -> str:
    return text if text.partition("@")[0] == model and "@" in text else f"{model}@{text}"
