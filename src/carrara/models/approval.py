"""Approval: what a person decided on a version, and what keeps it from being deployed."""

from __future__ import annotations

from collections.abc import Sequence

from carrara.core.errors import CarraraError, CheckFailed
from carrara.metadata.decisions import Decision, Word, add_decision, decisions_of
from carrara.models.registry import ModelVersion, read_record
from carrara.storage.stores import Stores


def approve(stores: Stores, version: ModelVersion, reason: str) -> Decision:
    """Say that a version is good; CheckFailed where its gates failed, which only an override passes over."""
    if not version.gates_passed:
        failed = _failed_gates(stores, version)
        raise CheckFailed(f"the gates of {version} failed", failed, hint=f"carrara model override {version} --reason …")
    return _decide(stores, version, "approved", reason)


def reject(stores: Stores, version: ModelVersion, reason: str) -> Decision:
    """Say that a version must not live, whatever its gates say."""
    return _decide(stores, version, "rejected", reason)


def override(stores: Stores, version: ModelVersion, reason: str) -> Decision:
    """Let a version live whose gates failed; who did it, and why, stay in its record."""
    if version.gates_passed:
        raise CarraraError(
            f"the gates of {version} passed: there is nothing to override", hint=f"carrara model approve {version}"
        )
    return _decide(stores, version, "overridden", reason)


def blocking(stores: Stores, version: ModelVersion) -> list[str]:
    """Why a version may not be deployed; empty where it may. The last decision on it counts."""
    decided = decisions_of(stores.metadata, version.model, version.version)
    return blocked_by(decided, [] if version.gates_passed else _failed_gates(stores, version))


def blocked_by(decided: Sequence[Decision], failed_gates: Sequence[str]) -> list[str]:
    last = decided[-1] if decided else None
    if last is not None and last.decision == "rejected":
        return [f"{last.by} rejected it: {last.reason}"]
    return [] if last is not None and last.decision == "overridden" else list(failed_gates)


def _decide(stores: Stores, version: ModelVersion, word: Word, reason: str) -> Decision:
    if not reason.strip():
        raise CarraraError("a decision needs a reason, in words that the next person understands")
    return add_decision(stores.metadata, version.model, version.version, word, reason.strip())


def _failed_gates(stores: Stores, version: ModelVersion) -> list[str]:
    results = read_record(stores, version)["gates"]["results"]
    return [result["message"] for result in results if not result["passed"]]
