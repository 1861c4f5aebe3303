"""What a stream is to the loop that reads it.

To add one: a frozen dataclass with the methods of `Stream`, in a file of its own, and a case in the conformance tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Message:
    """One JSON object, and where it came from: `arrivals/0@17`, `rows.jsonl@3`."""

    payload: bytes
    origin: str


@dataclass(frozen=True)
class Batch:
    """Messages, and how far the stream was read with them: positions by name, before and after."""

    messages: Sequence[Message]
    moves: Mapping[str, tuple[int | None, int]]


class StreamReader(Protocol):
    def next(self, wait_seconds: float) -> Batch:
        """The next messages, or none after a wait."""

    def at_end(self) -> bool:
        """Whether all that is there now was read."""


class Stream(Protocol):
    """A source of messages without an end. Raises UnavailableError where it does not answer."""

    def describe(self) -> dict[str, Any]:
        """Plain data for the view's spec."""

    def open(self, root: Path, position: Callable[[str], int | None]) -> AbstractContextManager[StreamReader]:
        """Start to read after these positions (None: from the beginning)."""
