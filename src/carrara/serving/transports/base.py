"""The protocol of a transport, and what all of them need to know.

To add one: a class with these members in a file of its own; `server.py` starts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_MESSAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Result:
    """What one call ends with: `data`, or a status `code` other than 0 and its `text`."""

    data: bytes = b""
    code: int = 0
    text: str = ""


Handler = Callable[[Sequence[tuple[str, bytes]]], list[Result]]
"""Answers calls (method path, message) that came in together, in their order."""


class Transport(Protocol):
    """A listening socket; `port` is known from the start."""

    port: int

    def start(self) -> None: ...

    def stop(self, grace_seconds: float) -> None:
        """Refuse new work, finish what is under way within the grace, and close."""
