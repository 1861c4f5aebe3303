"""A trial: what a process of its own found when it served a model's artifact and asked it with real rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trial:
    """`reason` says why the artifact is not safe to serve, and is empty where it is.

    Times are of requests of one row, in milliseconds; `bytes` is the artifact's size and `memory_bytes` what the
    process grew by when it was loaded. Figures are None where it came to none. `nulls` says what went wrong with
    the `null_rows`, which lack a feature, and is empty where all went well; None where there were none. `servers` is
    what each server that the user named came to, and `tries` how often it was tried.
    """

    reason: str
    through: str = ""
    rows: int = 0
    load_seconds: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    bytes: int | None = None
    memory_bytes: int | None = None
    null_rows: int = 0
    nulls: str | None = None
    servers: Sequence[Mapping[str, Any]] = ()
    tries: int = 1

    @property
    def safe(self) -> bool:
        return not self.reason

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        return cls(**data)
