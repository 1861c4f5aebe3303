"""Run events: what is told, to whoever listens, when a run begins and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carrara.metadata.store import Metadata


@dataclass(frozen=True)
class RunEvent:
    """A run that has begun (`state` is running) or ended; `parent` is the (id, kind, name) of what it is part of."""

    run_id: str
    kind: str
    name: str
    state: str
    user: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    parent: tuple[str, str, str] | None = None


Listener = Callable[["Metadata", RunEvent], None]

current_run: ContextVar[tuple[str, str, str] | None] = ContextVar("current_run", default=None)
"""The run that this code is part of."""
