"""The model record: everything that is known of a model version, complete and by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrara.core.errors import StorageError

RECORD_FORMAT = 1
"""The form in which this release writes records; a later one that readers of this one would misread gets the next."""


@dataclass(frozen=True)
class ModelRecord:
    """What is written once, when a version is registered; plain data all the way down.

    Deployments come later and are read from the metadata store when the record is shown.
    """

    model: str
    trained_by: str
    started_at: str
    ended_at: str
    configuration: dict[str, Any]
    datasets: dict[str, Any]
    features: list[dict[str, Any]]
    metrics: dict[str, Any]
    charts: dict[str, Any]
    parameters: dict[str, Any]
    summary: dict[str, Any]
    signature: dict[str, Any]
    gates: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"record_format": RECORD_FORMAT, **vars(self)}


def check_record_format(record: dict[str, Any], whose: str) -> dict[str, Any]:
    """The record, if this release can read it; StorageError says what to do."""
    found = record.get("record_format", 1)
    if not isinstance(found, int) or found > RECORD_FORMAT:
        raise StorageError(
            f"the record of {whose} was written by a newer Carrara: its form is {found!r}",
            hint="Upgrade: pip install -U carrara. Nothing was changed.",
        )
    return record
